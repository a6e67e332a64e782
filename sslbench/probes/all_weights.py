"""Products with the features for all weights and intercepts at once: values (G, r, d + 1), the intercepts last."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.probes.loss import Loss
from sslbench.probes.rows import Rows


class AllWeights:
    """What a loss on rows of features makes of all weights, in float32 or float64 as what comes in.

    penalised: 1 for a weight and 0 for the intercept, float64 (d + 1,).
    """

    def __init__(self, rows: Rows, loss: Loss) -> None:
        self.rows, self.loss = rows, loss
        self.penalised = torch.ones(rows.d + 1, dtype=torch.float64, device=rows.device)
        self.penalised[-1] = 0

    def zero_sum(self, values: Tensor) -> Tensor:
        """Values less what all rows of a softmax share, which changes no loss, and of which the penalty wants none."""
        return values - values.mean(1, keepdim=True) if self.loss.rows > 1 else values

    def forward(self, theta: Tensor) -> Tensor:
        """Relative logits (G, r, n)."""
        logits = self.rows.forward(theta[..., :-1].reshape(-1, self.rows.d)).view(*theta.shape[:2], -1)
        return self.loss.relative(logits + theta[..., -1:])

    def adjoint(self, weighted: Tensor) -> Tensor:
        """Weighted residuals (G, r, n) times features and ones."""
        products = self.rows.adjoint(weighted.reshape(-1, self.rows.n)).view(*weighted.shape[:2], -1)
        return torch.cat([products, weighted.sum(2, keepdim=True)], 2)
