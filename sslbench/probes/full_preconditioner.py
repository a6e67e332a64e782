"""Approximate inverses of the Hessian in all weights and intercepts, for conjugate gradients on them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from sslbench.probes.loss import Loss
from sslbench.probes.rows import Rows

# An inverse of so many entries is applied in about the time of a few products with the features.
_ENTRIES = 1 << 22
_BUILD_FLOPS = 4e9


class FullPreconditioner(Protocol):
    """Of vectors (G, r, d + 1), the intercepts last, float64.

    steps: of conjugate gradients, after which a fresh start is better. price: of `refresh`, in such steps; it is due when those
    beyond what a fresh inverse takes add up to it.
    """

    steps: int
    price: int

    def refresh(self, residual: Tensor, penalty: float) -> None:
        """Set up anew for residuals (G, r, n) and a penalty."""

    def __call__(self, vector: Tensor) -> Tensor:
        """The approximate inverse times a vector."""


def is_small(rows: Rows, loss: Loss) -> bool:
    """Whether the whole Hessian is worth inverting."""
    entries = loss.groups * (loss.rows * (rows.d + 1)) ** 2
    return rows.resident is not None and entries <= _ENTRIES and rows.n * entries <= _BUILD_FLOPS


class WholeInverse:
    """The inverse of the whole Hessian at an earlier point. It ages slowly: at weak penalties a Hessian shrinks in proportion."""

    steps, price = 60, 40

    def __init__(self, rows: Rows, loss: Loss) -> None:
        if rows.resident is None:
            raise ValueError("the whole Hessian is for features in memory")
        self._rows, self._loss = rows, loss
        self._x = torch.cat([rows.resident, rows.resident.new_ones(rows.n, 1)], 1)
        self._penalised = torch.ones(rows.d + 1, dtype=torch.float64, device=rows.device)
        self._penalised[-1] = 0
        # What the rows of a softmax all share changes no loss: the basis is of the rest.
        self._basis = torch.eye(loss.rows, dtype=torch.float64, device=rows.device)
        if loss.rows > 1:
            self._basis = torch.linalg.svd(self._basis - 1 / loss.rows)[0][:, :-1].contiguous()
        self._inverse = torch.empty(0)

    def refresh(self, residual: Tensor, penalty: float) -> None:
        """From float32 products where these leave the Hessian positive, else from float64 ones."""
        for precision, touch in ((torch.float32, 1e-7), *((torch.float64, ridge) for ridge in (1e-13, 1e-9, 1e-5))):
            hessian = self._hessian(residual.to(precision), self._x.to(precision))
            diagonal = hessian.diagonal(dim1=1, dim2=2)
            diagonal += penalty * self._penalised.repeat(self._basis.shape[1])
            # Each coordinate in a unit of its own, and a touch everywhere for the rounding.
            unit = diagonal.clamp_min(1e-300).rsqrt()
            hessian *= unit[:, :, None] * unit[:, None]
            diagonal += touch
            factor, failed = torch.linalg.cholesky_ex(hessian)
            if not failed.any():
                break
        self._inverse = torch.cholesky_inverse(factor) * unit[:, :, None] * unit[:, None]

    def __call__(self, vector: Tensor) -> Tensor:
        """In the basis and back."""
        inside = (self._basis.T @ vector).flatten(1)[..., None]
        return self._basis @ torch.bmm(self._inverse, inside).view(len(vector), self._basis.shape[1], -1)

    def _hessian(self, residual: Tensor, x: Tensor) -> Tensor:
        """Of the loss, float64 (G, p, p) in the basis, from what it makes of one unit logit after the other."""
        groups, rows, n = residual.shape
        units = torch.eye(rows, dtype=x.dtype, device=x.device)[None, ..., None].expand(groups, rows, rows, n)
        curved = self._loss.weigh(self._loss.curve(residual, self._loss.relative(units)))
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


class SharedCovariance:
    """Each row's Hessian taken for its summed weights p (1 - p) times the features' covariance."""

    steps, price = 600, -1

    def __init__(self, rows: Rows, loss: Loss) -> None:
        self._loss = loss
        variances, self._vectors = torch.linalg.eigh(rows.gram() / rows.n)
        self._variances = variances.clamp_min(0)
        self._inverse = torch.empty(0)

    def refresh(self, residual: Tensor, penalty: float) -> None:
        """Only the weights depend on the point."""
        weight = self._loss.diagonal(residual).double().sum(2, keepdim=True).clamp_min(1e-300)
        self._inverse = torch.cat([1 / (weight * self._variances + penalty), 1 / weight], 2)

    def __call__(self, vector: Tensor) -> Tensor:
        """Along the covariance's eigenvectors and back."""
        along = self._inverse * torch.cat([vector[..., :-1] @ self._vectors, vector[..., -1:]], 2)
        return torch.cat([along[..., :-1] @ self._vectors.T, along[..., -1:]], 2)
