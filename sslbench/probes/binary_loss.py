"""Logistic losses of independent binary problems."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sslbench.probes.loss import ALL, entropy, flushed, regular


class BinaryLoss:
    """K groups of one row. positive: bool (K, n); weights: float32 (K, n), zero where a sample is left out, or None.

    Logits are of the positive class; `relative` leaves them, and the one residual of a sample is signed: 1 - p for a
    positive, -p for a negative.
    """

    rows = 1

    def __init__(self, positive: Tensor, weights: Tensor | None) -> None:
        self.groups = len(positive)
        self._sign = torch.where(positive, 1.0, -1.0)[:, None]
        self._weights = None if weights is None else weights[:, None]
        of_positives, of_negatives = (
            self.weigh(kept.float()[:, None]).sum(2, dtype=torch.float64) for kept in (positive, ~positive)
        )
        self.prior = (of_positives / of_negatives).log().float()

    def relative(self, logits: Tensor) -> Tensor:
        """The logits themselves."""
        return logits

    def evaluate(self, relative: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and residuals."""
        shortfall = -self._sign * relative
        size = flushed(shortfall.sigmoid())
        return self.weigh(softplus(shortfall)).sum((1, 2), dtype=torch.float64), size * self._sign

    def weigh(self, values: Tensor, part: slice = ALL) -> Tensor:
        """Values times the samples' weights."""
        if self._weights is None:
            return values
        weights = self._weights[..., part]
        return values * (weights if values.ndim == 3 else weights[:, None])

    def curvature(self, residual: Tensor) -> Tensor:
        """p (1 - p)."""
        size = residual.abs()
        return size - size.square()

    def curve(self, curvature: Tensor, change: Tensor) -> Tensor:
        """p (1 - p) times the change."""
        return change * curvature[:, None]

    def diagonal(self, residual: Tensor) -> Tensor:
        """The weights times p (1 - p)."""
        return self.weigh(self.curvature(residual))

    def intercept_hessian(self, residual: Tensor) -> Tensor:
        """Sum of p (1 - p)."""
        return regular(self.diagonal(residual).sum(2, keepdim=True, dtype=torch.float64), null=0.0)

    def entropy(self, residual: Tensor) -> Tensor:
        """Weighted entropy of the probabilities."""
        size = residual.abs()
        return self.weigh(entropy(size, size[:, 0])[:, None]).sum((1, 2), dtype=torch.float64)
