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
from torch.nn.functional import softplus

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
