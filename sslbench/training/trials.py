"""A grid of trainings, of which several processes and machines may each run some."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslbench.training.trial import Function, Trial
from sslbench.training.trial_result import TrialResult


class HandedOverError(Exception):
    """A grid of which other processes are to run trials first. keys: those of its trials that have no result."""

    def __init__(self, keys: Iterable[str]) -> None:
        super().__init__("other processes are to run trials of this grid")
        self.keys = tuple(keys)


class TrialEndedError(Exception):
    """The one trial that was to be run has its result."""


@dataclass(frozen=True)
class Trials:
    """Trainings that share a folder and a case.

    folder: where results are kept, and the states of trainings that were interrupted; None for nowhere. case: what every result
    depends on besides its hyperparameters, as plain data: the case's key, a version. shared: as of `Trial`. hand_over: whether a
    grid of which several trials have no result is left to other processes. only: the key of the one trial to run, empty for all.
    device: as of `Trial`. peaks: `TrialResult.peak_memory` of the results so far.
    """

    folder: Path | None
    case: Mapping[str, Any]
    shared: str = ""
    hand_over: bool = False
    only: str = ""
    device: str = "cpu"
    peaks: list[Mapping[str, int | None]] = field(default_factory=list, compare=False, repr=False)
    _before: list[float] = field(default_factory=list, compare=False, repr=False)

    def map(
        self,
        function: Function,
        grid: Iterable[Mapping[str, Any]],
        *,
        stage: str,
        watch: Callable[[Mapping[str, Any], TrialResult], None] = lambda hyperparameters, result: None,
    ) -> list[TrialResult]:
        """The results in the grid's order; see `Trial.run`.

        stage: tells trainings of one case apart that have the same hyperparameters, such as the search on train from the last
        training on train and val. watch: told of each result as it comes.
        Raises TypeError for hyperparameters that are no plain data, and, where that was asked for, HandedOverError or
        TrialEndedError.

        An interrupted grid goes on where it stopped. Several processes may have the same grid at a time, and share it: what
        another one is at comes last, and is waited for.
        """
        trials = [
            Trial(function, hyperparameters, self.case, stage, self.folder, self.shared, self.device)
            for hyperparameters in grid
        ]
        for trial in trials:
            if self.only and trial.key == self.only:
                trial.run()
                raise TrialEndedError
        if self.hand_over:
            missing = [trial.key for trial in trials if not trial.has_result()]
            if len(missing) > 1:
                raise HandedOverError(missing)
        results: list[TrialResult | None] = []
        for trial in trials:
            results.append(self._counted(trial.run_unless_busy))
            if (found := results[-1]) is not None:
                watch(trial.hyperparameters, found)
        whole: list[TrialResult] = []
        for trial, result in zip(trials, results, strict=True):
            if result is None:
                result = self._counted(trial.run)
                assert result is not None
                watch(trial.hyperparameters, result)
            whole.append(result)
        return whole

    def _counted(self, run: Callable[[], TrialResult | None]) -> TrialResult | None:
        begun = time.perf_counter()
        result = run()
        if result is not None:
            self._before.append(max(0.0, result.seconds - (time.perf_counter() - begun)))
            self.peaks.append(result.peak_memory)
        return result

    def seconds_elsewhere(self) -> float:
        """Seconds that trials of `map` took in other processes or sessions, since this was last asked."""
        total = sum(self._before)
        self._before.clear()
        return total
