"""The objective on the coordinates the solver moves in."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from sslbench.logistic.directions import Directions
from sslbench.logistic.losses import Loss
from sslbench.logistic.principal import Head
from sslbench.logistic.products import Rows


@dataclass(frozen=True)
class Point:
    """Weights and what they give.

    along: (G, m) coefficients of the directions. head: (G, r, h) weights along the leading principal directions.
    intercept: (G, r). logits, residual: (G, r, n). value: float64 (G,), the objective.
    """

    along: Tensor
    head: Tensor
    intercept: Tensor
    logits: Tensor
    residual: Tensor
    value: Tensor


@dataclass(frozen=True)
class Step:
    """A change of a point; None leaves a coordinate. logits: the relative logits of the change."""

    along: Tensor | None
    head: Tensor | None
    intercept: Tensor
    logits: Tensor


class Model:
    """F(W, b) = sum of weighted losses + penalty/2 ||W||^2 with W = head part + combination of directions.

    The directions are orthogonal to the head, so the squared norm is the sum of those of the coordinates.
    """

    def __init__(self, rows: Rows, loss: Loss, capacity: int) -> None:
        self.rows, self.loss, self.head = rows, loss, Head(rows)
        self.directions = Directions((loss.groups, loss.rows, rows.n, rows.d), capacity, self.head.vectors)

    def head_logits(self, head: Tensor, intercept: Tensor) -> Tensor:
        """Relative logits (G, r, n) of head weights and intercepts."""
        logits = (head.reshape(-1, self.head.size) @ self.head.features).view(*head.shape[:2], -1)
        return self.loss.relative(logits + intercept[..., None])

    def head_correlate(self, residual: Tensor) -> Tensor:
        """Inner products (G, r, h) of the head's features with residuals (G, r, n)."""
        return (residual.reshape(-1, self.rows.n) @ self.head.features.T).view(*residual.shape[:2], -1)

    def head_curvature(self, curvature: Tensor, head: Tensor, intercept: Tensor) -> tuple[Tensor, Tensor]:
        """The Hessian of the loss, of a curvature (G, r, n), times head weights (G, r, h) and intercepts (G, r)."""
        change = self.head_logits(head, intercept)[:, None]
        curved = self.loss.weigh(self.loss.curve(curvature, change)[:, 0])
        return self.head_correlate(curved), curved.sum(2)

    def point(self, penalty: float, along: Tensor, head: Tensor, intercept: Tensor) -> Point:
        """The point with these coordinates, its logits computed anew."""
        logits = self.head_logits(head, intercept)
        if self.directions.count:
            logits += self.directions.combine_logits(along)
        return self._evaluate(penalty, along, head, intercept, logits)

    def moved(self, penalty: float, point: Point, step: Step, length: Tensor) -> Point:
        """The point `length` (G,) times a step away."""
        size = length[:, None]
        return self._evaluate(
            penalty,
            point.along if step.along is None else point.along + size * step.along,
            point.head if step.head is None else point.head + size[..., None] * step.head,
            point.intercept + size * step.intercept,
            torch.addcmul(point.logits, step.logits, size[..., None]),
        )

    def shrunk(self, penalty: float, point: Point) -> Point:
        """The point at the first of 1, 1/2, 1/4, ... times the weights and intercepts that the next does not improve on.

        Samples that a start has far on the wrong side have no curvature there, and Newton's steps from it lead nowhere.
        """
        for _ in range(40):
            nearer = self._evaluate(penalty, point.along / 2, point.head / 2, point.intercept / 2, point.logits / 2)
            better = nearer.value < point.value
            if not better.any():
                break
            point = nearer if better.all() else _chosen(better, nearer, point)
        return point

    def weights(self, point: Point) -> Tensor:
        """Weights (G r, d) of a point."""
        weights: Tensor = point.head.reshape(-1, self.head.size) @ self.head.vectors
        return weights + self.directions.combine_weights(point.along) if self.directions.count else weights

    def _evaluate(self, penalty: float, along: Tensor, head: Tensor, intercept: Tensor, logits: Tensor) -> Point:
        loss, residual = self.loss.evaluate(logits)
        square = along.double().square().sum(1) + head.double().square().sum((1, 2))
        return Point(along, head, intercept, logits, residual, loss + penalty / 2 * square)


def _chosen(first: Tensor, one: Point, other: Point) -> Point:
    """One point where `first` (G,) says so, else the other."""
    pairs = ((getattr(one, field.name), getattr(other, field.name)) for field in fields(Point))
    return Point(*(torch.where(first.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))
