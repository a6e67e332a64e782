"""Independent binary logistic regressions, one a class, for many penalties at once."""

from __future__ import annotations

import torch

from sslbench.probes.binary_loss import BinaryLoss
from sslbench.probes.inputs import (
    Array,
    Penalties,
    checked_device,
    checked_penalties,
    checked_targets,
    checked_tolerance,
    checked_weights,
)
from sslbench.probes.result import BinaryPath
from sslbench.probes.solve import Start, read, solve_path
from sslbench.probes.source import Features, Source


def binary_path(
    x: Features,
    targets: Array,
    lambdas: Penalties,
    *,
    two_rows: bool = False,
    tol: float = 1e-4,
    device: str | torch.device | None = None,
    sample_weight: Array | None = None,
    memory: int | None = None,
    start: Start | None = None,
) -> BinaryPath:
    """Minimise, for every class and every lambda, sum_i w_i logloss_i + lambda/2 ||w||^2 with a free intercept.

    That is scikit-learn's LogisticRegression with C = 1 / lambda, class by class. Arguments and errors are those of `softmax_path`, but:

    Args:
        targets: (n, K) of 1, 0 and -1; a sample is left out of the classes where it has -1.
        two_rows: the penalty is that of a softmax with two rows, as the official code of the study forces for VOC2007
            (ssl-transfer linear.py): lambda/2 counts both of +-w/2, so that `coef` is the one of plain logistic regression at lambda/2.

    objective, gap and converged are (L, K).
    """
    penalties, tol, source = checked_penalties(lambdas), checked_tolerance(tol), Source(x)
    positive, counted = checked_targets(targets, source.n)
    weights = checked_weights(sample_weight, source.n)
    if weights is not None:
        counted = weights.expand(len(positive), -1) if counted is None else counted * weights
    device = checked_device(device, x)
    rows = read(source, device, memory)
    loss = BinaryLoss(positive.to(device), None if counted is None else counted.to(device))
    factor = 0.5 if two_rows else 1.0
    solved = solve_path(rows, loss, factor * penalties, tol, memory=memory, start=start)
    return BinaryPath(
        penalties, solved.coef, solved.intercept, solved.objective, solved.gap, solved.gap <= tol, solved.work
    )
