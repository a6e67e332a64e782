"""Learning curves of a log, and as samples."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from sslbench.protocols._training_run import trained
from sslbench.training.curves import POINTS, Curve, curve_arrays, curve_of, trial_curve_arrays
from sslbench.training.loop import Plan
from sslbench.training.schedules import cosine, warmup_cosine
from tests.protocols.tuning import silent
from tests.training.toy import Toy

RISING: Curve = {"step": [10, 20], "loss": [3.0, 1.0], "rate": [0.1, 0.05]}


def log_of(losses: np.ndarray, every: int) -> list[dict[str, float]]:
    """As the loop writes it: the mean of each `every` steps, the last of fewer."""
    ends = [*range(every, len(losses), every), len(losses)]
    return [
        {"step": end, "loss": float(losses[start:end].mean()), "seconds": 1.0}
        for start, end in zip([0, *ends], ends, strict=False)
    ]


@pytest.mark.parametrize(("steps", "every"), [(7, 10), (95, 10), (1000, 10), (1001, 10), (5000, 10), (2013, 1)])
def test_a_point_is_the_mean_loss_of_its_steps_and_there_are_few(steps: int, every: int) -> None:
    losses = np.random.default_rng(steps).random(steps)
    curve = curve_of(log_of(losses, every), lambda step: step / 7)
    assert curve["step"][-1] == steps and len(curve["step"]) <= POINTS
    assert len(curve["step"]) >= min(POINTS // 2, -(-steps // every))
    for start, end, loss, rate in zip([0, *curve["step"]], curve["step"], curve["loss"], curve["rate"], strict=False):
        assert loss == pytest.approx(losses[int(start) : int(end)].mean(), rel=1e-5)
        assert rate == pytest.approx((end - 1) / 7, rel=1e-5)


@pytest.mark.parametrize("schedule", [cosine, partial(warmup_cosine, warmup=0.25)])
def test_the_rate_is_the_one_that_the_optimiser_had(schedule, tmp_path: Path) -> None:
    rates, step = [], torch.optim.SGD.step

    class Watched(torch.optim.SGD):
        def step(self, *arguments):
            rates.append(self.param_groups[0]["lr"])
            return step(self, *arguments)

    def make() -> Toy:
        toy = Toy()
        toy.optimiser = Watched(toy.model.parameters(), 0.03)
        return toy

    _, log, curve = trained(
        make, Plan(12, 4), schedule=schedule, begun_with={}, folder=None, device=torch.device("cpu"), save_seconds=1,
        bar=silent(),
    )  # fmt: skip
    assert curve["step"] == [4, 8, 12]
    assert curve["rate"] == pytest.approx([rates[3], rates[7], rates[11]], rel=1e-5)
    assert curve["loss"] == pytest.approx([line["loss"] for line in log], rel=1e-5)


def test_curves_of_several_seeds_are_rows_and_none_stands_for_another() -> None:
    other = {**RISING, "loss": [2.0, 0.5]}
    arrays = curve_arrays([{"curve": RISING}, {"curve": other}])
    assert arrays["curve_loss"].tolist() == [[3.0, 1.0], [2.0, 0.5]] and arrays["curve_step"].tolist() == [10, 20]
    assert {name: array.dtype for name, array in arrays.items()} == {
        "curve_step": np.int32,
        "curve_rate": np.float32,
        "curve_loss": np.float32,
    }
    # Of a result that was kept before there were curves.
    assert curve_arrays([{"curve": RISING}, {}]) == curve_arrays([]) == {}


def test_curves_of_trials_tell_their_place_in_the_grid() -> None:
    short: Curve = {"step": [5], "loss": [4.0], "rate": [1.0]}
    arrays = trial_curve_arrays([None, RISING, None, short])
    assert arrays["trial_curve_trial"].tolist() == [1, 1, 3]
    assert arrays["trial_curve_step"].tolist() == [10, 20, 5]
    assert arrays["trial_curve_loss"].tolist() == [3.0, 1.0, 4.0]
    np.testing.assert_allclose(arrays["trial_curve_rate"], [0.1, 0.05, 1.0])
    assert trial_curve_arrays([None, None]) == {}
