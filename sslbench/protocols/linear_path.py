"""The linear probe's penalties solved together, each to a certified optimum."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from sslbench.probes import ProbePath, Start, binary_path, softmax_path
from sslbench.protocols.base import Labelled, Predictor
from sslbench.protocols.linear_solver import Decisions, LinearSolver

# On the CPU, where features are memory-mapped: a copy of CIFAR's 50,000 x 2,048 is worth its memory, one of Food-101's,
# whose many classes make products slow beside reading, is not.
_CPU_MEMORY = 840 << 20


class PathSolver(LinearSolver):
    """`softmax_path` or `binary_path`; the refit starts from the chosen solution.

    `hyperparameters["gap"]` is the largest certified relative gap over the path and the refit, None where one has no
    certificate at all, and `hyperparameters["unconverged"]` counts penalties whose gap is above the tolerance.
    """

    def scan(self, train: Labelled, x: Tensor) -> Iterator[Decisions]:
        """Decision values (N, K) on x, for each penalty in order."""
        self._path = self._solve([train], self.penalties)
        for values in self._path.decision(x):
            yield values.double().cpu().numpy()

    def refit(self, train: Labelled, val: Labelled, index: int) -> Predictor:
        """The probe at penalties[index] on train + val."""
        path = self._path
        start = Start(path.coef[index], path.intercept[index], self.penalties[index])
        last = self._solve([train, val], [self.penalties[index]], start)
        solved = [path, last]
        gap = max(float(part.gap.max()) for part in solved)
        return PathPredictor(
            last,
            {
                "gap": gap if math.isfinite(gap) else None,
                "unconverged": sum(int((~part.converged).sum()) for part in solved),
            },
        )

    def _solve(self, parts: Sequence[Labelled], penalties: Sequence[float], start: Start | None = None) -> ProbePath:
        x, targets = [part.x for part in parts], np.concatenate([part.targets for part in parts])
        memory = _CPU_MEMORY if x[0].device.type == "cpu" else None
        if targets.ndim == 2:
            return binary_path(x, targets, penalties, binary_softmax=self.two_rows, start=start, memory=memory)
        return softmax_path(x, targets, penalties, num_classes=self.num_classes, start=start, memory=memory)


class PathPredictor(Predictor):
    """The last of a path's probes."""

    def __init__(self, path: ProbePath, hyperparameters: Mapping[str, Any]) -> None:
        self.path = path
        self.hyperparameters = hyperparameters

    def decide(self, x: Tensor) -> Decisions:
        """Decision values (N, K)."""
        *_, values = self.path.decision(x)
        return np.asarray(values.double().cpu().numpy())
