"""Linear probe as in the study: multinomial logistic regression with L2, chosen on validation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sslbench.errors import DataError
from sslbench.protocols.base import Labelled, Metric, Predictor, SplitProtocol

# 45 log-spaced weights of the penalty, 1e-6 .. 1e5 (Ericsson et al. 2021, appendix A.2; float32 logspace as in
# ssl-transfer linear.py), tried from the weakest, so that a tie goes to the larger C.
PENALTIES = np.logspace(-6, 5, 45, dtype=np.float32).astype(np.float64)
MAX_ITERATIONS = 100
TOLERANCE = 1e-4


class Linear(SplitProtocol):
    """scikit-learn's L-BFGS once per value, each started from the previous solution.

    Follows ssl-transfer linear.py: 100 iterations at most, tolerance 1e-4, no scaling of the features, refit on
    train + val with the chosen value, started from the last solution of the path. At weak regularisation the solver
    stops before it converges; `hyperparameters["unconverged"]` counts how often on the
    path, and `refit_converged` tells of the last fit.
    """

    def __init__(self, variant: str = "") -> None:
        if variant:
            raise DataError(f"the linear protocol has no variant {variant!r}")

    def fit(self, train: Labelled, val: Labelled, *, num_classes: int, metric: Metric) -> Predictor:
        """Select the penalty on val, refit on train + val."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        missing = sorted(set(range(num_classes)) - set(np.unique(train.targets).tolist()))
        if missing:
            raise DataError(f"the training split has no image of class {missing[:8]}; every class needs at least one")
        x_train, x_val = _float64(train.x), _float64(val.x)
        # The study forced the two-row softmax on two classes, which equals binary logistic regression at 2C.
        factor = 2.0 if num_classes == 2 else 1.0
        model = LogisticRegression(solver="lbfgs", max_iter=MAX_ITERATIONS, tol=TOLERANCE, warm_start=True)
        best_c, best_score, unconverged = 0.0, -1.0, 0
        # scikit-learn's OpenMP loss and the BLAS pool fight over the cores: one thread was 5 to 18 times faster than two
        # here, and gives the same bits whatever the number of cores.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            for c in 1.0 / PENALTIES:
                model.set_params(C=factor * c).fit(x_train, train.targets)
                unconverged += int(model.n_iter_.max() >= MAX_ITERATIONS)
                score = metric(_decisions(model, x_val), val.targets).value
                if score > best_score:
                    best_c, best_score = float(c), score
            model.set_params(C=factor * best_c)
            model.fit(np.concatenate([x_train, x_val]), np.concatenate([train.targets, val.targets]))
            refit_converged = bool(model.n_iter_.max() < MAX_ITERATIONS)
        chosen = {"C": best_c, "val_score": best_score, "solver": "sklearn-lbfgs"}
        return _LogisticPredictor(model, {**chosen, "unconverged": unconverged, "refit_converged": refit_converged})


class _LogisticPredictor(Predictor):
    def __init__(self, model: Any, hyperparameters: Mapping[str, Any]) -> None:
        self.model = model
        self.hyperparameters = hyperparameters

    def decide(self, x: Tensor) -> npt.NDArray[np.float64]:
        return _decisions(self.model, _float64(x))


def _float64(x: Tensor) -> npt.NDArray[np.float64]:
    return x.cpu().double().numpy()


def _decisions(model: Any, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = model.decision_function(x)
    # Two classes give one margin; the two-row softmax it stands for has plus and minus half of it.
    return np.stack([-values / 2, values / 2], axis=1) if values.ndim == 1 else values
