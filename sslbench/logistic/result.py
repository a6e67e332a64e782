"""What a path of linear probes is: solutions, objectives, certificates, and the work they took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sslbench.logistic.features import Features, Source

_DECISION_BYTES = 256 << 20


@dataclass
class Work:
    """Products with the features, the only steps whose cost grows with n times d.

    forward: products X W^T; adjoint: products R X; the columns are the widths of all of them together. flops: of all
    products with the features, the search for their leading directions included.
    """

    forward: int = 0
    forward_columns: int = 0
    adjoint: int = 0
    adjoint_columns: int = 0
    flops: float = 0.0

    def count(self, size: float, *, forward: int = 0, adjoint: int = 0) -> None:
        """Add a product of so many columns, or one of each kind, with `size` = n d features."""
        self.forward, self.forward_columns = self.forward + bool(forward), self.forward_columns + forward
        self.adjoint, self.adjoint_columns = self.adjoint + bool(adjoint), self.adjoint_columns + adjoint
        self.flops += 2.0 * size * (forward + adjoint)


@dataclass(frozen=True)
class ProbePath:
    """Linear probes for L penalties, in the order the penalties were given.

    lambdas: float64 (L,). coef: float32 (L, k, d) and intercept: float64 (L, k), on the device that solved. objective:
    float64 (L,), or (L, k) for independent binary problems. gap: same shape, a certified upper estimate of the
    relative suboptimality (F - F*) / F*. converged: bool, gap <= tol.
    """

    lambdas: Tensor
    coef: Tensor
    intercept: Tensor
    objective: Tensor
    gap: Tensor
    converged: Tensor
    work: Work = field(default_factory=Work)

    def decision(self, x: Features) -> Iterator[Tensor]:
        """Decision values of features (N, d), one float32 (N, k) a penalty, in the order of `lambdas`.

        An iterator, because all L of them together can be larger than the features; at most 256 MiB, or one penalty's
        values, are held at a time. Raises as `softmax_path` does for features it cannot use.
        """
        source = Source(x, dimension=self.coef.shape[2])
        count, (_, k, d) = len(self.lambdas), self.coef.shape
        together = max(1, _DECISION_BYTES // (4 * source.n * k))
        for start in range(0, count, together):
            coef, intercept = self.coef[start : start + together], self.intercept[start : start + together]
            values = torch.empty(len(coef), source.n, k, device=coef.device)
            for first, rows in source.chunks(coef.device):
                # About these rows' mean, because float32 would lose digits of features far from the origin.
                mean = rows.mean(0)
                product = (rows - mean) @ coef.reshape(-1, d).T
                offset = (intercept + coef.double() @ mean.double()).float()
                values[:, first : first + len(rows)] = product.view(len(rows), -1, k).transpose(0, 1) + offset[:, None]
            yield from values


class SoftmaxPath(ProbePath):
    """Multinomial probes: row c of `coef` is class c; rows add to zero over the classes in use."""


class BinaryPath(ProbePath):
    """Independent binary probes: row c of `coef` decides for class c where the decision value is positive."""
