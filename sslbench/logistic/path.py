"""From strong to weak penalties: one subspace for all of them, one certificate for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from sslbench.logistic.certificate import Dual, combined_bound, own_dual, relative
from sslbench.logistic.newton import Newton
from sslbench.logistic.objective import Model, Point

# Penalties that far apart are solved in turn; those between them are interpolated and only certified.
_STRIDE = 3.3
# Further apart than this, penalties in between are passed through without being solved to the tolerance.
_LEAP = 12.0
_NODES = 4
_INNER_SHARE = 0.2
_PASSES = 150
# Passes without progress before a penalty is given up: where directions are added, and where there are none to add.
_PATIENCE, _PATIENCE_WITHOUT = 15, 3


@dataclass(frozen=True)
class Solution:
    """What is kept of a penalty. weights: (G r, d). intercept: (G, r). value, gap: float64 (G,)."""

    weights: Tensor
    intercept: Tensor
    value: Tensor
    gap: Tensor


@dataclass(frozen=True)
class _Node:
    """Coordinates of a solved penalty, which others are interpolated from, and its dual while it may be needed.

    loose: whether it was passed through or is a start, so that a curve through it may lead anywhere.
    """

    penalty: float
    along: Tensor
    head: Tensor
    intercept: Tensor
    dual: Dual | None
    loose: bool


class PathSolver:
    """Solves penalties in descending order, each to the relative gap `tol`.

    The solutions are one smooth curve, so directions found for one penalty serve the next ones. A pass at a penalty
    settles the coordinates that touch no features, forms the full gradient (one product), which certifies or else gives the
    next direction (a second product).
    """

    def __init__(self, model: Model, tol: float) -> None:
        self.model, self.tol, self.newton = model, tol, Newton(model)
        self._nodes: list[_Node] = []

    def solve(self, penalties: Sequence[float]) -> list[Solution]:
        """One solution for each of the penalties, which must descend strictly."""
        solutions: dict[float, Solution] = {}
        first = 0
        while first < len(penalties):
            last = first
            while (
                self._nodes and last + 1 < len(penalties) and self._nodes[-1].penalty <= _STRIDE * penalties[last + 1]
            ):
                last += 1
            self._approach(penalties[last])
            point = self._predicted(penalties[last])
            solutions[penalties[last]] = self._solve(penalties[last], point, more=last + 1 < len(penalties))
            for penalty in penalties[first:last]:
                solutions[penalty] = self._between(penalty)
            first = last + 1
        return [solutions[penalty] for penalty in penalties]

    def start(self, weights: Tensor, intercept: Tensor, penalty: float) -> None:
        """Begin at weights (G r, d) and intercepts (G, r) thought to be good at a penalty. Costs one product."""
        groups, rows = self.model.loss.groups, self.model.loss.rows
        head = (weights @ self.model.head.vectors.T).view(groups, rows, -1)
        along = torch.zeros(groups, 0, device=weights.device)
        if self._append(weights):
            along = torch.bmm(weights.view(groups, 1, -1).double(), self.model.directions.latest().double())[
                :, 0
            ].float()
        point = self.model.shrunk(penalty, self.model.point(penalty, along, head, intercept))
        weighted = self.model.loss.weigh(point.residual)
        products = torch.cat(
            [self.model.directions.correlate(weighted), self.model.head_correlate(weighted).flatten(1)], 1
        )
        matching = matching_penalty(products, torch.cat([point.along, point.head.flatten(1)], 1), penalty)
        self._nodes = [_Node(matching, point.along, point.head, point.intercept, None, True)]

    def _approach(self, penalty: float) -> None:
        """Pass through penalties above one that is far below the last, or below those at which weights vanish."""
        if self._nodes:
            last = self._nodes[-1].penalty
        else:
            origin = self._predicted(penalty)
            curvature = self.model.loss.diagonal(origin.residual).sum(2).amax()
            last = float(curvature) * self.model.head.largest
        steps = math.ceil(math.log10(last / penalty)) if last > _LEAP * penalty else 0
        for step in range(0 if not self._nodes else 1, steps):
            waypoint = last * (penalty / last) ** (step / steps)
            point = self._predicted(waypoint)
            self.newton.refresh()
            point = self.newton.settle(waypoint, point, _INNER_SHARE * point.value)
            dual, _, gradient = own_dual(self.model, waypoint, point)
            self._remember(waypoint, point, dual, loose=True)
            self._add_direction(waypoint, point, gradient)

    def _solve(self, penalty: float, point: Point, *, more: bool) -> Solution:
        """Passes until the certificate is good enough, or does not improve any more."""
        self.newton.refresh()
        gaps: list[float] = []
        patience = _PATIENCE
        while True:
            aim = max(self.tol, 0.2 * gaps[-1]) if gaps and math.isfinite(gaps[-1]) else self.tol
            point = self.newton.settle(penalty, point, _INNER_SHARE * aim * point.value)
            dual, bound, gradient = own_dual(self.model, penalty, point)
            gap = relative(bound, point.value)
            gaps.append(float(gap.max()))
            done = gaps[-1] <= self.tol or len(gaps) >= _PASSES or _stagnant(gaps, patience)
            if done:
                self._remember(penalty, point, dual)
            if more or not done:
                point, added = self._add_direction(penalty, point, gradient)
                patience = _PATIENCE if added else _PATIENCE_WITHOUT
            if done:
                return Solution(self.model.weights(point), point.intercept, point.value, gap)

    def _between(self, penalty: float) -> Solution:
        """A penalty between solved ones: interpolated, certified by their duals, and settled or solved only if need be."""
        point = self._predicted(penalty)
        duals = [node.dual for node in self._nodes if node.dual is not None]
        self.newton.refresh()
        for _ in range(2):
            gap = relative(combined_bound(self.model, penalty, point, duals), point.value)
            if (gap <= self.tol).all():
                return Solution(self.model.weights(point), point.intercept, point.value, gap)
            point = self.newton.settle(penalty, point, _INNER_SHARE * self.tol * point.value)
        return self._solve(penalty, point, more=False)

    def _predicted(self, penalty: float) -> Point:
        """The point that polynomials in log penalty through the nearest solved penalties give."""
        loss, device = self.model.loss, self.model.rows.device
        if not self._nodes:
            along = torch.zeros(loss.groups, self.model.directions.count, device=device)
            head = torch.zeros(loss.groups, loss.rows, self.model.head.size, device=device)
            return self.model.point(penalty, along, head, loss.prior)
        nearest = sorted(self._nodes, key=lambda node: abs(math.log(node.penalty / penalty)))
        for count in range(len(nearest), 0, -1):
            shares = lagrange([math.log(node.penalty) for node in nearest[:count]], math.log(penalty))
            if max(map(abs, shares)) < 6:
                break
        point = self._combined(penalty, shares, nearest[:count])
        if count > 1 and any(node.loose for node in nearest[:count]):
            here = self._combined(penalty, [1.0], nearest[:1])
            point = point if (point.value < here.value).all() else here
        return point

    def _combined(self, penalty: float, shares: Sequence[float], nodes: Sequence[_Node]) -> Point:
        along, head, intercept = (
            torch.stack([share * getattr(node, name) for share, node in zip(shares, nodes, strict=True)]).sum(0)
            for name in ("along", "head", "intercept")
        )
        return self.model.point(penalty, along, head, intercept)

    def _remember(self, penalty: float, point: Point, dual: Dual, *, loose: bool = False) -> None:
        nodes = [*self._nodes, _Node(penalty, point.along, point.head, point.intercept, dual, loose)]
        nodes = sorted(nodes, key=lambda node: -node.penalty)[-_NODES:]
        self._nodes = [replace(node, dual=None) for node in nodes[:-2]] + nodes[-2:]

    def _add_direction(self, penalty: float, point: Point, gradient: Tensor) -> tuple[Point, bool]:
        """The gradient outside of the head, divided by the curvature there, becomes a direction if it is a new one."""
        weight = self.model.loss.diagonal(point.residual).sum(2).view(-1, 1)
        if self.model.directions.count == self.model.directions.capacity:
            point = self._condense(point)
        added = self._append(self.model.head.tail.newton(gradient, weight, penalty))
        if added:
            self.newton.extend(point.residual)
            point = replace(point, along=pad(point.along, (0, 1)))
            self._nodes = [replace(node, along=pad(node.along, (0, 1))) for node in self._nodes]
        return point, added

    def _append(self, weights: Tensor) -> bool:
        loss, directions = self.model.loss, self.model.directions
        weights = directions.orthonormal(weights)
        if not weights.any():
            return False
        logits = self.model.rows.forward(weights).view(loss.groups, loss.rows, -1)
        directions.append(weights, loss.relative(logits))
        return True

    def _condense(self, point: Point) -> Point:
        kept = torch.stack([point.along, *(node.along for node in self._nodes)], 2)
        rotation = self.model.directions.condense(kept, (self.model.directions.capacity - 2) // 2)
        self.newton.rotate(rotation)
        self._nodes = [replace(node, along=_rotated(rotation, node.along)) for node in self._nodes]
        return replace(point, along=_rotated(rotation, point.along))


def matching_penalty(products: Tensor, weights: Tensor, least: float) -> float:
    """The penalty at which weights (G, ...) come closest to being optimal, `least` or more.

    products: sum_i w_i A_i x_i^T, which at the optimum is the penalty times the weights. The largest of the groups'.
    """
    along = (products.double() * weights.double()).flatten(1).sum(1)
    return max(least, float((along / weights.double().square().flatten(1).sum(1).clamp_min(1e-300)).max()))


def _rotated(rotation: Tensor, along: Tensor) -> Tensor:
    return torch.bmm(rotation, along[..., None])[..., 0]


def lagrange(nodes: Sequence[float], at: float) -> list[float]:
    """Weights of the values at the nodes in the interpolating polynomial's value."""
    return [math.prod((at - b) / (a - b) for b in nodes if b != a) for a in nodes]


def _stagnant(gaps: Sequence[float], patience: int) -> bool:
    """Whether the last passes have not improved on those before; nor does it improve on infinity to stay there."""
    return len(gaps) > patience and min(gaps[-patience:]) >= 0.9 * min(gaps[:-patience])
