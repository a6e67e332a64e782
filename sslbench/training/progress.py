"""One bar for all trainings of a grid."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sslbench.training.trial_result import TrialResult


@dataclass
class GridBar:
    """Steps of all trainings together, and beside them which one it is, its loss, and the best score so far.

    add: moves the bar by so many steps. tell: shows a text beside it.
    """

    add: Callable[[int], None]
    tell: Callable[[str], None]
    trainings: int
    _finished: int = 0
    _begun: int = 0
    _now: str = ""
    _best: float | None = None

    def begin(self, label: str) -> None:
        """A training begins. label: what it is trained with."""
        self._now, self._begun = label, 0
        self._say("")

    def advance(self, steps: int, loss: float | None) -> None:
        """For `sslbench.training.loop.train`."""
        self._begun += steps
        self.add(steps)
        if loss is not None:
            self._say(f"loss {loss:.4g}")

    def finished(self, steps: int, score: float | None) -> None:
        """A training has ended, was kept from an earlier run, or has diverged. steps: that it was to have; score: on val."""
        self.add(steps - self._begun)
        self._finished, self._begun, self._now = self._finished + 1, 0, ""
        if score is not None:
            self._best = score if self._best is None else max(self._best, score)

    def watch(self, steps: int, score: str) -> Callable[[Mapping[str, Any], TrialResult], None]:
        """For `Trials.map`. score: the name that the values of a result give the validation score."""

        def watch(hyperparameters: Mapping[str, Any], result: TrialResult) -> None:
            self.finished(steps, None if result.values is None else result.values.get(score))

        return watch

    def _say(self, loss: str) -> None:
        best = "" if self._best is None else f"best on val {self._best:.2f}"
        self.tell(", ".join(filter(None, (f"{self._finished + 1}/{self.trainings} {self._now}", loss, best))))


@contextlib.contextmanager
def grid_bar(title: str, *, steps: int, trainings: int) -> Iterator[GridBar]:
    """A bar on the terminal with the time left; none where stderr is no terminal. steps: of all trainings together."""
    from tqdm import tqdm

    with tqdm(total=steps, desc=title, unit="step", leave=False, disable=None) as bar:

        def add(steps: int) -> None:
            bar.update(steps)

        yield GridBar(add, bar.set_postfix_str, trainings)
