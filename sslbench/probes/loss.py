"""What the solver needs of a loss, elementwise, in a form that float32 does not spoil.

Arrays are class-major, (G, r, n): G groups with an objective each, r rows of weights a group, n samples. The softmax is
one group of k rows; K independent binary problems are K groups of one row.

In the separable regime the probabilities off the target are of the order of the penalty, far below float32's distance
to 1. Two conventions keep them exact. Logits are *relative*: less the target's, so that the loss is log(1 + sum exp) of
the others. And what is stored is a sample's *residual*, target less probability: its entry at the target is the sum of
the other probabilities, never 1 - p.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

ALL = slice(None)


class Loss(Protocol):
    """The loss of n samples on G groups of r rows. prior: float32 (G, r), the best intercepts of zero weights."""

    groups: int
    rows: int
    prior: Tensor

    def relative(self, logits: Tensor) -> Tensor:
        """Logits (G, ..., r, n) made relative to the target's."""
        ...

    def evaluate(self, relative: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted loss, float64 (G,), and unweighted residuals (G, r, n) at relative logits (G, r, n)."""
        ...

    def weigh(self, values: Tensor, part: slice = ALL) -> Tensor:
        """Values (G, ..., r, n) of some samples times the samples' weights."""
        ...

    def curvature(self, residual: Tensor) -> Tensor:
        """What `curve` needs of a point, (G, r, n) as the residuals."""
        ...

    def curve(self, curvature: Tensor, change: Tensor) -> Tensor:
        """Each sample's Hessian, unweighted, times relative logits (G, m, r, n)."""
        ...

    def diagonal(self, residual: Tensor) -> Tensor:
        """Diagonal of each sample's Hessian, weighted, (G, r, n)."""
        ...

    def intercept_hessian(self, residual: Tensor) -> Tensor:
        """Hessian in the intercepts, float64 (G, r, r), regular also along directions that change nothing."""
        ...

    def entropy(self, residual: Tensor) -> Tensor:
        """Weighted entropy, float64 (G,), of the probabilities behind the residuals: the dual of the loss."""
        ...


def flushed(probability: Tensor) -> Tensor:
    """Probabilities with zeros for those below 1e-30, in place.

    A product in which one number out of fifty is subnormal takes twice as long; the certificate holds for any probabilities.
    """
    return torch.threshold_(probability, 1e-30, 0.0)


def entropy(others: Tensor, mass: Tensor) -> Tensor:
    """Entropy (..., n) of samples with probabilities (..., r, n) off the target, which add to mass (..., n)."""
    off: Tensor = torch.special.xlogy(others, others).sum(-2)
    return -off - (1 - mass) * torch.log1p(-mass.clamp_max(1 - 2**-24))


def regular(hessian: Tensor, null: float) -> Tensor:
    """A Hessian (G, r, r) with `null` times its mean diagonal in the constant direction, and a touch of it everywhere."""
    rows = hessian.shape[1]
    eye = torch.eye(rows, dtype=hessian.dtype, device=hessian.device)
    scale = hessian.diagonal(dim1=1, dim2=2).mean(1)[:, None, None].clamp_min(1e-300)
    filled: Tensor = hessian + scale * (null / rows + 1e-12 * eye)
    return filled
