"""Multinomial log-loss."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.probes.loss import ALL, entropy, flushed, regular


class SoftmaxLoss:
    """One group of k rows. target: int64 (n,) in [0, k), every class present; weights: float32 (n,) or None for 1."""

    groups = 1

    def __init__(self, target: Tensor, rows: int, weights: Tensor | None) -> None:
        self.rows = rows
        self._target, self._weights = target[None, None], weights
        counts = torch.bincount(target, weights=None if weights is None else weights.double(), minlength=rows)
        logarithms = counts.double().log()
        self.prior = (logarithms - logarithms.mean()).float()[None]

    def relative(self, logits: Tensor) -> Tensor:
        """Logits less the target's."""
        return logits - logits.gather(-2, self._target.expand(*logits.shape[:-2], 1, -1))

    def evaluate(self, relative: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and residuals."""
        others = relative.scatter(1, self._target, -torch.inf)
        top = others.amax(1, keepdim=True).clamp_min_(0)
        others = flushed(others.sub_(top).exp_())
        mass = others.sum(1, keepdim=True)
        total = mass + (-top).exp()
        loss = torch.where(top > 0, top + total.log(), torch.log1p(mass))
        residual = others.div_(-total).scatter_(1, self._target, mass / total)
        return self.weigh(loss).sum((1, 2), dtype=torch.float64), residual

    def weigh(self, values: Tensor, part: slice = ALL) -> Tensor:
        """Values times the samples' weights."""
        return values if self._weights is None else values * self._weights[part]

    def curvature(self, residual: Tensor) -> Tensor:
        """The probabilities."""
        return residual.neg().scatter_(1, self._target, 1 - residual.gather(1, self._target))

    def curve(self, curvature: Tensor, change: Tensor) -> Tensor:
        """Row c is p_c (z_c - sum p z). Relative z are zero at the target, where p is close to 1."""
        probability = curvature[:, None]
        mean = (probability * change).sum(-2, keepdim=True)
        return (change - mean).mul_(probability)

    def diagonal(self, residual: Tensor) -> Tensor:
        """The weights times p (1 - p)."""
        size = residual.abs()
        return self.weigh(size - size.square())

    def intercept_hessian(self, residual: Tensor) -> Tensor:
        """Sum of diag(p) - p p^T, with the constant direction filled in."""
        probability = self.curvature(residual)
        hessian = torch.bmm(self.weigh(probability), probability.transpose(1, 2)).double().neg_()
        # Rows add to zero; the diagonal from the others has no cancellation.
        hessian.diagonal(dim1=1, dim2=2).zero_()
        return regular(hessian - torch.diag_embed(hessian.sum(2)), null=1.0)

    def entropy(self, residual: Tensor) -> Tensor:
        """Weighted entropy of the probabilities."""
        others = -residual.scatter(1, self._target, 0)
        return self.weigh(entropy(others, residual.gather(1, self._target)[:, 0])).sum(1, dtype=torch.float64)
