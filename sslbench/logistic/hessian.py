"""The Hessian in all weights and intercepts, and approximate inverses of it, for conjugate gradients.

A vector has coordinates (G, p), float64, in which a Hessian is regular; `inside` and `outside` lead there from weights and
intercepts (G, r, d + 1), and back. Lengths and inner products are the same on both sides.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from sslbench.logistic.losses import Loss
from sslbench.logistic.products import Rows


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


# An inverse of so many entries is applied in about the time of a few products with the features.
_ENTRIES = 1 << 22
_BUILD_FLOPS = 4e9


class Hessian(Protocol):
    """The Hessian at the point that `move` was last called for.

    steps: of conjugate gradients, after which a fresh start is better. price: of `refresh`, in such steps; it is due when those
    beyond what a fresh inverse takes add up to it. penalised: 1 where a coordinate is of weights, 0 of intercepts, (p,).
    """

    steps: int
    price: int
    penalised: Tensor

    def move(self, residual: Tensor, penalty: float) -> None:
        """To the residuals (G, r, n) of a point, and a penalty."""

    def refresh(self, residual: Tensor, penalty: float) -> None:
        """Set up the inverse anew, at residuals (G, r, n) and a penalty."""

    def inside(self, values: Tensor) -> Tensor:
        """Coordinates of values (G, r, d + 1) that add to zero over the rows of a softmax."""

    def outside(self, vector: Tensor) -> Tensor:
        """The values at coordinates."""

    def times(self, vector: Tensor) -> Tensor:
        """The Hessian times a vector; products with the features are float32."""

    def solve(self, vector: Tensor) -> Tensor:
        """The approximate inverse times a vector."""


def is_small(rows: Rows, loss: Loss) -> bool:
    """Whether the whole Hessian is worth inverting."""
    entries = loss.groups * (loss.rows * (rows.d + 1)) ** 2
    return rows.resident is not None and entries <= _ENTRIES and rows.n * entries <= _BUILD_FLOPS


class SmallHessian:
    """With the inverse of the whole Hessian of an earlier point.

    That ages slowly: at weak penalties a Hessian shrinks in proportion. Problems are so small here that the number of calls is
    what takes time, hence coordinates in a basis of what the rows of a softmax do not share, and features with their ones.
    """

    steps, price = 60, 40

    def __init__(self, weights: AllWeights) -> None:
        self._rows, self._loss = weights.rows, weights.loss
        x = weights.rows.resident
        if x is None:
            raise ValueError("the whole Hessian is for features in memory")
        self._x = torch.cat([x, x.new_ones(len(x), 1)], 1)
        self._across = self._x.T.contiguous()
        rows = weights.loss.rows
        self._basis = torch.eye(rows, dtype=torch.float64, device=x.device)
        if rows > 1:
            self._basis = torch.linalg.svd(self._basis - 1 / rows)[0][:, :-1].contiguous()
        self._back = self._basis.T.contiguous()
        self.penalised = weights.penalised.repeat(self._basis.shape[1])
        self._inverse = self._curvature = self._penalty = torch.empty(0)

    def move(self, residual: Tensor, penalty: float) -> None:
        """To a point."""
        self._curvature, self._penalty = self._loss.curvature(residual.float()), penalty * self.penalised

    def inside(self, values: Tensor) -> Tensor:
        """In the basis."""
        return (self._back @ values).flatten(1)

    def outside(self, vector: Tensor) -> Tensor:
        """Out of the basis."""
        return self._basis @ vector.view(len(vector), self._basis.shape[1], -1)

    def times(self, vector: Tensor) -> Tensor:
        """Two products with the features, and what the loss makes of the logits in between."""
        self._rows.look()
        towards = self.outside(vector).float()
        logits = (towards.view(-1, towards.shape[2]) @ self._across).view(self._curvature.shape)
        curved = self._loss.weigh(self._loss.curve(self._curvature, self._loss.relative(logits)[:, None])[:, 0])
        products = (curved.view(-1, curved.shape[2]) @ self._x).view(towards.shape)
        columns = len(logits) * logits.shape[1]
        self._rows.work.count(self._x.numel(), forward=columns, adjoint=columns)
        return torch.addcmul(self.inside(products.double()), self._penalty, vector)

    def solve(self, vector: Tensor) -> Tensor:
        """By the inverse of the whole."""
        return torch.bmm(self._inverse, vector[..., None])[..., 0]

    def refresh(self, residual: Tensor, penalty: float) -> None:
        """From float32 products where these leave the Hessian positive, else from float64 ones."""
        for precision, touch in ((torch.float32, 1e-7), *((torch.float64, ridge) for ridge in (1e-13, 1e-9, 1e-5))):
            hessian = self._whole(self._loss.curvature(residual.to(precision)), self._x.to(precision))
            diagonal = hessian.diagonal(dim1=1, dim2=2)
            diagonal += penalty * self.penalised
            # Each coordinate in a unit of its own, and a touch everywhere for the rounding.
            unit = diagonal.clamp_min(1e-300).rsqrt()
            hessian *= unit[:, :, None] * unit[:, None]
            diagonal += touch
            factor, failed = torch.linalg.cholesky_ex(hessian)
            if not failed.any():
                self._inverse = torch.cholesky_inverse(factor).mul_(unit[:, :, None] * unit[:, None])
                return
        # Of a Hessian that float64 does not tell from a singular one the diagonal is what can be inverted.
        self._inverse = torch.diag_embed(unit.square())

    def _whole(self, curvature: Tensor, x: Tensor) -> Tensor:
        """Of the loss, float64 (G, p, p), from what it makes of one unit logit after the other."""
        groups, rows, n = curvature.shape
        units = torch.eye(rows, dtype=x.dtype, device=x.device)[None, ..., None].expand(groups, rows, rows, n)
        curved = self._loss.weigh(self._loss.curve(curvature, self._loss.relative(units)))
        basis = self._basis.to(x.dtype)
        curved = torch.einsum("ap,gabn,bq->gpqn", basis, curved, basis)
        rows, width = basis.shape[1], x.shape[1]
        hessian = x.new_empty(groups, rows, width, rows, width)
        for g in range(groups):
            for a in range(rows):
                blocks = torch.bmm(curved[g, a, a:, None] * x.T, x.expand(rows - a, n, width))
                hessian[g, a, :, a:] = blocks.transpose(0, 1)
                hessian[g, a + 1 :, :, a] = blocks[1:].transpose(1, 2)
        self._rows.work.flops += float(hessian.numel()) * n
        return hessian.view(groups, rows * width, rows * width).double()


class LargeHessian:
    """With each row's Hessian taken for its summed weights p (1 - p) times the features' covariance, as an inverse."""

    steps, price = 600, -1

    def __init__(self, weights: AllWeights) -> None:
        self._weights, self._loss = weights, weights.loss
        self.penalised = weights.penalised.repeat(weights.loss.rows)
        variances, self._vectors = torch.linalg.eigh(weights.rows.gram() / weights.rows.n)
        self._variances = variances.clamp_min(0)
        self._inverse = self._curvature = self._penalty = torch.empty(0)

    def move(self, residual: Tensor, penalty: float) -> None:
        """To a point."""
        self._curvature, self._penalty = self._loss.curvature(residual.float()), penalty * self.penalised

    def refresh(self, residual: Tensor, penalty: float) -> None:
        """Only the weights depend on the point."""
        weight = self._loss.diagonal(residual).double().sum(2, keepdim=True).clamp_min(1e-300)
        self._inverse = torch.cat([1 / (weight * self._variances + penalty), 1 / weight], 2)

    def inside(self, values: Tensor) -> Tensor:
        """One after the other."""
        return values.flatten(1)

    def outside(self, vector: Tensor) -> Tensor:
        """As they were."""
        return vector.view(len(vector), self._loss.rows, -1)

    def times(self, vector: Tensor) -> Tensor:
        """Two products with the features, and what the loss makes of the logits in between."""
        logits = self._weights.forward(self.outside(vector).float())
        curved = self._loss.weigh(self._loss.curve(self._curvature, logits[:, None])[:, 0])
        products = self._weights.zero_sum(self._weights.adjoint(curved).double())
        return torch.addcmul(self.inside(products), self._penalty, vector)

    def solve(self, vector: Tensor) -> Tensor:
        """Along the covariance's eigenvectors and back."""
        values = self.outside(vector)
        along = self._inverse * torch.cat([values[..., :-1] @ self._vectors, values[..., -1:]], 2)
        return self.inside(self._weights.zero_sum(torch.cat([along[..., :-1] @ self._vectors.T, along[..., -1:]], 2)))
