"""Linear probe as in the study: logistic regression with L2, its weight chosen on validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sslbench.compat import parse_compat
from sslbench.datasets import Labels, LabelSets
from sslbench.errors import DataError
from sslbench.metrics import MetricSpec
from sslbench.protocols.base import Labelled
from sslbench.protocols.classification import Classifier, Probe, check_every_class
from sslbench.protocols.registry import ProtocolSpec

if TYPE_CHECKING:
    from sslbench.protocols._linear_solvers import LinearSolver

# 45 log-spaced weights of the penalty, 1e-6 .. 1e5 (Ericsson et al. 2021, appendix A.2; float32 logspace as in
# ssl-transfer linear.py), tried from the weakest, so that a tie goes to the larger C.
PENALTIES = np.logspace(-6, 5, 45, dtype=np.float32).astype(np.float64)


class Linear(Probe):
    """45 penalties on train, the best on val, refitted on train + val; no scaling of the features.

    The switch linear-solver chooses between the certified path of `sslbench.logistic` and the study's own way, and
    voc2007-penalty what C means on multi-label targets, of which one C serves all classes. linear-selection takes the best
    penalty on val, or the strongest whose score is within one standard error of the best (Breiman et al., "Classification and
    Regression Trees", 1984, section 3.4.3): on a flat curve the best one is chosen by chance.
    """

    def __init__(self, variant: str = "", compat: Mapping[str, str] | None = None) -> None:
        if variant:
            raise DataError(f"the linear protocol has no variant {variant!r}")
        self.compat = parse_compat(compat or {})

    def check_targets(self, train: npt.NDArray[Any], val: npt.NDArray[Any], classes: Sequence[str]) -> None:
        """Something of every class to train on, and where an image has several, something without it."""
        check_every_class(train, classes)

    def learn(self, train: Labelled, val: Labelled, *, num_classes: int, metric: MetricSpec) -> Classifier:
        """Select the penalty on val, refit on train + val."""
        solver = self._solver(num_classes, multi_label=train.targets.ndim == 2)
        tolerant = self.compat["linear-selection"] == "one-stderr"
        best = allowed = -math.inf
        chosen, score, decided = 0, best, None
        # Penalties come from the weakest on: a new best one is the strongest so far that is allowed.
        for index, decision in enumerate(solver.scan(train, val.x)):
            value = metric.select(decision, val.targets).value
            if decided is None or value > best:
                best = value
                allowed = best - metric(decision, val.targets).stderr if tolerant else math.inf
            elif not value >= allowed:
                continue
            chosen, score, decided = index, value, decision
        predictor = solver.refit(train, val, chosen)
        facts = {"C": float(1 / PENALTIES[chosen]), "val_score": score, "solver": self.compat["linear-solver"]}
        predictor.hyperparameters = {**facts, **predictor.hyperparameters}
        if decided is not None and train.targets.ndim == 1:
            predictor.validation = decided, val.targets
        return predictor

    def _solver(self, num_classes: int, *, multi_label: bool) -> LinearSolver:
        from sslbench.protocols._linear_solvers import CertifiedSolver, SklearnSolver

        solver = CertifiedSolver if self.compat["linear-solver"] == "path" else SklearnSolver
        two_rows = self.compat["voc2007-penalty"] == "binary-softmax" if multi_label else num_classes == 2
        return solver(PENALTIES.tolist(), num_classes=num_classes, two_rows=two_rows)


SPEC = ProtocolSpec(
    "linear",
    3,
    Linear,
    "logistic regression on frozen features, L2 by validation",
    takes=(Labels, LabelSets),
    switches=("linear-solver", "linear-selection", "voc2007-penalty"),
)
