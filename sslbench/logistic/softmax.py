"""Multinomial logistic regression for many penalties at once."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.errors import DataError
from sslbench.logistic.features import (
    Array,
    Features,
    Penalties,
    Source,
    checked_device,
    checked_labels,
    checked_penalties,
    checked_tolerance,
    checked_weights,
)
from sslbench.logistic.losses import SoftmaxLoss
from sslbench.logistic.result import SoftmaxPath
from sslbench.logistic.solve import Start, read, solve_path


def softmax_path(
    x: Features,
    y: Array,
    lambdas: Penalties,
    *,
    num_classes: int | None = None,
    tol: float = 1e-4,
    device: str | torch.device | None = None,
    sample_weight: Array | None = None,
    memory: int | None = None,
    start: Start | None = None,
) -> SoftmaxPath:
    """Minimise sum_i w_i logloss_i + lambda/2 ||W||^2, intercepts free, for every lambda; each certified to `tol`.

    That is scikit-learn's LogisticRegression with C = 1 / lambda for three classes or more. For two it is the softmax with two
    rows, which equals scikit-learn's single row at 2 C.

    Args:
        x: (n, d) of any float dtype, torch or numpy; a memory map is streamed when it does not fit in memory. A list of
            matrices stands for them one below the other.
        y: integers (n,) in [0, num_classes).
        lambdas: L positive numbers in any order; the path is solved from strong to weak and is fastest when neighbours
            are within a factor of ten.
        num_classes: k, the largest label + 1 by default. A class without samples (of positive weight) has zero weights
            and intercept -inf: the limit of ever better intercepts.
        tol: the relative gap (F - F*) / F* to certify, at least 1e-5.
        device: where to solve; that of x by default.
        sample_weight: (n,), not negative; 1 by default.
        memory: bytes to plan for, by default 4 GiB on the CPU and what is free on a GPU. Features that take more than
            half of it as float32 are streamed from where they are. The peak is about 4 bytes times
            n d (nothing if streamed) + 40 Mi + 16 Ki d + (D + 16) k (n + d) + 160 n + 40 Ki k + 2 L k d,
            where D, the number of directions held, is 18, or as few as 9 for their share to fit in a quarter of it.
        start: a solution to begin from.

    Raises DataError for what cannot be used and FeatureError for features that are not finite.
    """
    penalties, tol, source = checked_penalties(lambdas), checked_tolerance(tol), Source(x)
    labels, classes = checked_labels(y, source.n, num_classes)
    weights = checked_weights(sample_weight, source.n)
    counted = labels if weights is None else labels[weights > 0]
    used, target = torch.unique(counted), labels
    if len(used) < 2:
        raise DataError(f"y: expected samples of two classes or more, got only class {used.tolist()}")
    if len(used) < classes:
        # Samples without weight may be of a class that nothing else is; any target will do for them.
        target = torch.searchsorted(used, labels).clamp_max(len(used) - 1)
    device = checked_device(device, x)
    rows = read(source, device, memory)
    loss = SoftmaxLoss(target.to(device), len(used), None if weights is None else weights.to(device))
    if start is not None:
        start = start.checked(classes, source.d)
        start = Start(start.coef[used], start.intercept[used], start.penalty)
    solved = solve_path(rows, loss, penalties, tol, memory=memory, start=start)
    gap = solved.gap[:, 0]
    coef, intercept = _spread(solved.coef, used, classes, 0.0), _spread(solved.intercept, used, classes, -torch.inf)
    return SoftmaxPath(penalties, coef, intercept, solved.objective[:, 0], gap, gap <= tol, solved.work)


def _spread(values: Tensor, used: Tensor, classes: int, fill: float) -> Tensor:
    """Values (L, used, ...) at their classes, the others filled."""
    if len(used) == classes:
        return values
    out = values.new_full((len(values), classes, *values.shape[2:]), fill)
    out[:, used.to(values.device)] = values
    return out
