"""Independent binary logistic regressions, one a class, for many penalties at once."""

from __future__ import annotations

from dataclasses import replace

import torch

from sslbench.logistic.features import (
    Array,
    Features,
    Penalties,
    Source,
    checked_device,
    checked_penalties,
    checked_targets,
    checked_tolerance,
    checked_weights,
)
from sslbench.logistic.losses import BinaryLoss
from sslbench.logistic.result import BinaryPath
from sslbench.logistic.solve import Start, read, solve_path


def binary_path(
    x: Features,
    y: Array,
    lambdas: Penalties,
    *,
    binary_softmax: bool = False,
    tol: float = 1e-4,
    device: str | torch.device | None = None,
    sample_weight: Array | None = None,
    memory: int | None = None,
    start: Start | None = None,
) -> BinaryPath:
    """Minimise, for every class and every lambda, sum_i w_i logloss_i + lambda/2 ||w||^2 with a free intercept.

    That is scikit-learn's LogisticRegression with C = 1 / lambda, class by class. Arguments and errors are those of
    `softmax_path`, but:

    Args:
        y: (n, r) of 1, 0 and -1, a column for each class; a sample is left out of the classes where it has -1.
        sample_weight: (n,), or (n, r) for weights of each class's own; not negative. Zero leaves a sample out.
        binary_softmax: the penalty is that of a softmax with two rows, as the official code of the study forces for
            VOC2007 (ssl-transfer linear.py): lambda/2 counts both of +-w/2. That is plain logistic regression at lambda/2, whose
            w `coef` holds; the official decision value is half of this one's.

    objective, gap and converged are (L, r).
    """
    penalties, tol, source = checked_penalties(lambdas), checked_tolerance(tol), Source(x)
    positive, weights = checked_targets(y, checked_weights(sample_weight, source.n, per_class=True), source.n)
    device = checked_device(device, x)
    rows = read(source, device, memory)
    loss = BinaryLoss(positive.to(device), None if weights is None else weights.to(device))
    factor = 0.5 if binary_softmax else 1.0
    if start is not None:
        start = replace(start.checked(len(positive), source.d), penalty=factor * start.penalty)
    solved = solve_path(rows, loss, factor * penalties, tol, memory=memory, start=start)
    return BinaryPath(
        penalties, solved.coef, solved.intercept, solved.objective, solved.gap, solved.gap <= tol, solved.work
    )
