"""One bar for a grid."""

from __future__ import annotations

from sslbench.training.progress import GridBar
from tests.protocols.tuning import trial


def test_a_bar_tells_which_training_it_is_its_loss_and_the_best_so_far() -> None:
    moved: list[int] = []
    told: list[str] = []
    bar = GridBar(moved.append, told.append, 3)
    watch = bar.watch(10, "val_score")
    watch({}, trial(40.0))  # kept from an earlier run
    bar.begin("rate 0.1")
    bar.advance(4, None)
    bar.advance(0, 1.25)
    watch({}, trial(None, 5))
    bar.begin("rate 0.01")
    bar.advance(10, 0.5)
    watch({}, trial(60.0))
    assert sum(moved) == 30
    assert told[-1] == "3/3 rate 0.01, loss 0.5, best on val 40.00"
