"""The linear probe's penalties as the study solved them, one after the other and not always to the end."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sslbench.protocols.base import Labelled, Predictor
from sslbench.protocols.linear_solver import Decisions, LinearSolver

MAX_ITERATIONS = 100
TOLERANCE = 1e-4


@dataclass(frozen=True)
class _Probe:
    """coef (K, d), intercept (K,); a single row stands for two classes, whose two rows have plus and minus half of it."""

    coef: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64]
    halves: bool

    def decide(self, x: npt.NDArray[np.float64]) -> Decisions:
        values: Decisions = x @ self.coef.T + self.intercept
        return np.concatenate([-values / 2, values / 2], axis=1) if self.halves else values


class SklearnSolver(LinearSolver):
    """scikit-learn's L-BFGS once per value, each started from the previous solution.

    Follows ssl-transfer linear.py: 100 iterations at most, tolerance 1e-4, the refit started from the last solution of the
    path, and of several binary problems each from the one before. At weak regularisation the solver stops before it
    converges; `hyperparameters["unconverged"]` counts how often on the path, and `refit_converged` tells of the last fit.
    Holds the features in float64.
    """

    def scan(self, train: Labelled, x: Tensor) -> Iterator[Decisions]:
        """Decision values (N, K) on x, for each penalty in order."""
        from sklearn.linear_model import LogisticRegression

        self._model = LogisticRegression(solver="lbfgs", max_iter=MAX_ITERATIONS, tol=TOLERANCE, warm_start=True)
        self._unconverged = 0
        features, held_out = _float64(train.x), _float64(x)
        for penalty in self.penalties:
            probe, converged = self._fit(features, train.targets, penalty)
            self._unconverged += not converged
            yield probe.decide(held_out)

    def refit(self, train: Labelled, val: Labelled, index: int) -> Predictor:
        """The probe at penalties[index] on train + val."""
        x, targets = (
            np.concatenate(pair) for pair in zip(*((_float64(p.x), p.targets) for p in (train, val)), strict=True)
        )
        probe, converged = self._fit(x, targets, self.penalties[index])
        return _SklearnPredictor(probe, {"unconverged": self._unconverged, "refit_converged": converged})

    def _fit(self, x: npt.NDArray[np.float64], targets: npt.NDArray[Any], penalty: float) -> tuple[_Probe, bool]:
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits

        model = self._model
        model.set_params(C=(2.0 if self.two_rows else 1.0) / penalty)
        rows, converged = [], True
        problems = targets.T if targets.ndim == 2 else targets[None]
        # scikit-learn's OpenMP loss and the BLAS pool fight over the cores: one thread was 5 to 18 times faster than two
        # here, and gives the same bits whatever the number of cores.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            for problem in problems:
                judged = problem >= 0
                model.fit(x if judged.all() else x[judged], problem[judged])
                converged &= bool(model.n_iter_.max() < MAX_ITERATIONS)
                rows.append((model.coef_.copy(), model.intercept_.copy()))
        coef, intercept = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return _Probe(coef, intercept, halves=targets.ndim == 1 and self.num_classes == 2), converged


class _SklearnPredictor(Predictor):
    def __init__(self, probe: _Probe, hyperparameters: Mapping[str, Any]) -> None:
        self.probe = probe
        self.hyperparameters = hyperparameters

    def decide(self, x: Tensor) -> Decisions:
        return self.probe.decide(_float64(x))


def _float64(x: Tensor) -> npt.NDArray[np.float64]:
    return x.cpu().double().numpy()
