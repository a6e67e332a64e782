"""How the linear protocol's penalties are solved: together and certified, or one after the other as the study did it."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sslbench.logistic import ProbePath, Start, binary_path, softmax_path
from sslbench.protocols.base import Labelled
from sslbench.protocols.classification import Classifier

Decisions = npt.NDArray[np.float64]

MAX_ITERATIONS = 100
TOLERANCE = 1e-4
# On the CPU, where features are memory-mapped: a copy of CIFAR's 50,000 x 2,048 is worth its memory, one of Food-101's,
# whose many classes make products slow beside reading, is not.
_CPU_MEMORY = 840 << 20


class LinearSolver(ABC):
    """How the probes of one case are fitted. Targets (N,) get a softmax over the classes, (N, K) one sigmoid a class.

    penalties: weights of the penalty, ascending. num_classes: K. two_rows: whether a binary problem's penalty is that of a
    softmax with two rows, as the official code forces it, which equals plain binary logistic regression at 2C.
    """

    def __init__(self, penalties: Sequence[float], *, num_classes: int, two_rows: bool) -> None:
        self.penalties = penalties
        self.num_classes = num_classes
        self.two_rows = two_rows

    @abstractmethod
    def scan(self, train: Labelled, x: Tensor) -> Iterator[Decisions]:
        """Decision values (N, K) on x, for each penalty in order."""

    @abstractmethod
    def refit(self, train: Labelled, val: Labelled, index: int) -> Classifier:
        """The probe at penalties[index] on train + val, after a scan; `hyperparameters` tell how well both were solved."""


class CertifiedSolver(LinearSolver):
    """`softmax_path` or `binary_path`; the refit starts from the chosen solution.

    `hyperparameters["gap"]` is the largest certified relative gap over the path and the refit, None where one has no
    certificate at all, and `hyperparameters["unconverged"]` counts penalties whose gap is above the tolerance.
    """

    def scan(self, train: Labelled, x: Tensor) -> Iterator[Decisions]:
        """Decision values (N, K) on x, for each penalty in order."""
        self._path = self._solve([train], self.penalties)
        for values in self._path.decision(x):
            yield values.double().cpu().numpy()

    def refit(self, train: Labelled, val: Labelled, index: int) -> Classifier:
        """The probe at penalties[index] on train + val."""
        path = self._path
        start = Start(path.coef[index], path.intercept[index], self.penalties[index])
        last = self._solve([train, val], [self.penalties[index]], start)
        solved = [path, last]
        gap = max(float(part.gap.max()) for part in solved)
        return _PathClassifier(
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


class _PathClassifier(Classifier):
    """The last of a path's probes."""

    def __init__(self, path: ProbePath, hyperparameters: Mapping[str, Any]) -> None:
        self.path = path
        self.hyperparameters = hyperparameters

    def decide(self, x: Tensor) -> Decisions:
        """Decision values (N, K)."""
        *_, values = self.path.decision(x)
        return np.asarray(values.double().cpu().numpy())


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

    def refit(self, train: Labelled, val: Labelled, index: int) -> Classifier:
        """The probe at penalties[index] on train + val."""
        x, targets = (
            np.concatenate(pair) for pair in zip(*((_float64(p.x), p.targets) for p in (train, val)), strict=True)
        )
        probe, converged = self._fit(x, targets, self.penalties[index])
        return _SklearnClassifier(probe, {"unconverged": self._unconverged, "refit_converged": converged})

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


class _SklearnClassifier(Classifier):
    def __init__(self, probe: _Probe, hyperparameters: Mapping[str, Any]) -> None:
        self.probe = probe
        self.hyperparameters = hyperparameters

    def decide(self, x: Tensor) -> Decisions:
        return self.probe.decide(_float64(x))


def _float64(x: Tensor) -> npt.NDArray[np.float64]:
    return x.cpu().double().numpy()
