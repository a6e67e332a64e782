"""Least squares with an L2 penalty for several penalties: one pass over the features, one factorisation each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sslbench.errors import DataError, FeatureError
from sslbench.logistic.features import Features, Penalties, Source, checked_device, checked_penalties
from sslbench.threads import giving_way


@dataclass(frozen=True)
class LeastSquares:
    """float64 solutions for L penalties in their order: coef (L, r, d), intercept (L, r)."""

    lambdas: Tensor
    coef: Tensor
    intercept: Tensor


def least_squares_path(
    x: Features, y: Tensor, lambdas: Penalties, *, device: str | torch.device | None = None
) -> LeastSquares:
    """Minimise sum_i ||y_i - W x_i - b||^2 + lambda ||W||^2, intercepts free, for every lambda: scikit-learn's Ridge.

    The sums of products are float64 and need d^2 numbers; features are read once, in pieces.

    Args:
        x: (n, d) of any float dtype, torch or numpy, perhaps memory-mapped, or a list of matrices one below the other.
        y: float (n, r).
        lambdas: L positive numbers.
        device: where to compute; that of x by default.

    Raises:
        DataError: what cannot be used.
        FeatureError: features that are not finite.
    """
    penalties, source = checked_penalties(lambdas), Source(x)
    if y.ndim != 2 or len(y) != source.n or not bool(y.isfinite().all()):
        raise DataError(f"y: expected finite numbers ({source.n}, r), a row for each of x, got {tuple(y.shape)}")
    device = checked_device(device, x)
    answers = y.to(device, torch.float64)
    shift: Tensor | None = None
    gram = torch.zeros(source.d, source.d, dtype=torch.float64, device=device)
    cross = torch.zeros(source.d, y.shape[1], dtype=torch.float64, device=device)
    total = torch.zeros(source.d, dtype=torch.float64, device=device)
    with giving_way() as look:
        for first, part in source.chunks(device):
            look()
            rows = part.double()
            if shift is None:
                # About a point near the mean, so that little is lost where it is taken off the sums.
                shift = rows.mean(0)
            rows -= shift
            gram.addmm_(rows.T, rows)
            cross.addmm_(rows.T, answers[first : first + len(rows)])
            total += rows.sum(0)
        if shift is None or not bool(gram.isfinite().all()):
            raise FeatureError("features: expected finite values whose squares can be added, got others")
        mean, of_answers = total / source.n, answers.mean(0)
        centred = gram - source.n * torch.outer(mean, mean)
        right = cross - source.n * torch.outer(mean, of_answers)
        # A few factorisations are cheaper than one eigendecomposition, which would serve any number of penalties.
        eye = torch.eye(source.d, dtype=torch.float64, device=device)
        coef = torch.stack([torch.linalg.solve(centred + float(each) * eye, right).T for each in penalties])
    return LeastSquares(penalties, coef, of_answers - coef @ (mean + shift))
