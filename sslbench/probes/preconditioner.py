"""Approximate inverses of the Hessian in the head's weights, class by class, for conjugate gradients there."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.probes.model import Model

_SAMPLES = 1024
# Of a matrix with a unit diagonal, so that a sampled one has a Cholesky factor in spite of rounding.
_RIDGE = 1e-4


class Preconditioner:
    """The inverse of each row's own Hessian in its head weights and intercept; what couples the classes is left out.

    Where samples abound, each Hessian is that of a sample of them, drawn evenly along the row's cumulated weights p (1 - p),
    and inverted whole. With few samples conjugate gradients on all of them cost less than that, and the diagonal does.
    """

    def __init__(self, model: Model, penalty: float, residual: Tensor) -> None:
        features, n = model.head.features, model.rows.n
        weights = model.loss.diagonal(residual)
        shape = (*weights.shape[:2], len(features) + 1)
        weights = weights.view(-1, n)
        self._whole = n >= 8 * _SAMPLES
        if self._whole:
            steps = (torch.arange(_SAMPLES, dtype=torch.float64, device=weights.device) + 0.5) / _SAMPLES
            inverses = [_inverse(features, weight, steps, penalty) for weight in weights]
            self._inverse = torch.stack(inverses).view(*shape, shape[2])
        else:
            by_head = weights @ features.square().T + penalty
            by_intercept = weights.sum(1, keepdim=True).clamp_min(1e-30)
            self._inverse = (1 / torch.cat([by_head, by_intercept], 1)).view(shape)

    def __call__(self, vector: Tensor) -> Tensor:
        """The inverse times (G, r, h + 1): head weights and intercepts."""
        return (self._inverse @ vector[..., None])[..., 0] if self._whole else self._inverse * vector


def _inverse(features: Tensor, weight: Tensor, steps: Tensor, penalty: float) -> Tensor:
    """Of sum_i w_i (f_i, 1)(f_i, 1)^T + penalty, (h + 1, h + 1), from features (h, n) and weights (n,).

    steps: the shares of the summed weights, float64, at which samples are drawn.
    """
    size = len(features)
    cumulated = weight.cumsum(0, dtype=torch.float64)
    total = cumulated[-1].clamp_min(1e-30)
    drawn = features[:, torch.searchsorted(cumulated, steps * total).clamp_max(len(weight) - 1)]
    share = (total / len(steps)).float()
    hessian = features.new_empty(size + 1, size + 1)
    hessian[:size, :size] = drawn @ drawn.T * share
    hessian[:size, size] = hessian[size, :size] = drawn.sum(1) * share
    hessian[size, size] = total
    hessian.diagonal()[:size] += penalty
    scale = hessian.diagonal().rsqrt()
    hessian *= scale[:, None] * scale
    hessian.diagonal().add_(_RIDGE)
    inverse: Tensor = torch.cholesky_inverse(torch.linalg.cholesky(hessian)) * scale[:, None] * scale
    return inverse
