"""Minimising the objective over the coordinates that touch no features: directions, head and intercepts.

Approximate inverses of the Hessian in the head's weights, class by class, for conjugate gradients there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.logistic.objective import Model, Point, Step

_SAMPLES = 1024
# Of a matrix with a unit diagonal, so that a sampled one has a Cholesky factor in spite of rounding.
_RIDGE = 1e-4


class Preconditioner:
    """The inverse of each row's own Hessian in its head weights and intercept; what couples the classes is left out.

    Where samples abound, each Hessian is that of a sample of them, drawn evenly along the row's cumulated weights p (1 - p),
    and inverted whole. With few samples conjugate gradients on all of them cost less than that, and the diagonal does.
    """

    def __init__(self, model: Model, penalty: float, residual: Tensor) -> None:
        features, n = model.head.features, model.rows.n
        weights = model.loss.diagonal(residual)
        shape = (*weights.shape[:2], len(features) + 1)
        weights = weights.view(-1, n)
        self._whole = n >= 8 * _SAMPLES
        if self._whole:
            steps = (torch.arange(_SAMPLES, dtype=torch.float64, device=weights.device) + 0.5) / _SAMPLES
            inverses = [_inverse(features, weight, steps, penalty) for weight in weights]
            self._inverse = torch.stack(inverses).view(*shape, shape[2])
        else:
            by_head = weights @ features.square().T + penalty
            by_intercept = weights.sum(1, keepdim=True).clamp_min(1e-30)
            self._inverse = (1 / torch.cat([by_head, by_intercept], 1)).view(shape)

    def __call__(self, vector: Tensor) -> Tensor:
        """The inverse times (G, r, h + 1): head weights and intercepts."""
        return (self._inverse @ vector[..., None])[..., 0] if self._whole else self._inverse * vector


def _inverse(features: Tensor, weight: Tensor, steps: Tensor, penalty: float) -> Tensor:
    """Of sum_i w_i (f_i, 1)(f_i, 1)^T + penalty, (h + 1, h + 1), from features (h, n) and weights (n,).

    steps: the shares of the summed weights, float64, at which samples are drawn.
    """
    size = len(features)
    cumulated = weight.cumsum(0, dtype=torch.float64)
    total = cumulated[-1].clamp_min(1e-30)
    drawn = features[:, torch.searchsorted(cumulated, steps * total).clamp_max(len(weight) - 1)]
    share = (total / len(steps)).float()
    hessian = features.new_empty(size + 1, size + 1)
    hessian[:size, :size] = drawn @ drawn.T * share
    hessian[:size, size] = hessian[size, :size] = drawn.sum(1) * share
    hessian[size, size] = total
    hessian.diagonal()[:size] += penalty
    scale = hessian.diagonal().rsqrt()
    hessian *= scale[:, None] * scale
    hessian.diagonal().add_(_RIDGE)
    inverse: Tensor = torch.cholesky_inverse(torch.linalg.cholesky(hessian)) * scale[:, None] * scale
    return inverse


_SWEEPS = 8
_CG_STEPS = 30
_BLOCK_BYTES = 2 << 20


class Newton:
    """Alternates Newton steps in the directions' coefficients and in the head's weights; intercepts belong to both.

    The directions' Hessian is small and dense. It is kept while it predicts the decrease, extended by a row when a
    direction is added, and computed anew for a new penalty. The head's is applied, not built: preconditioned conjugate
    gradients.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        loss, device = model.loss, model.rows.device
        self._hessian = torch.zeros(loss.groups, 0, 0, device=device)
        self._cross = torch.zeros(loss.groups, 0, loss.rows, device=device)
        self._stale = True
        self._preconditioner: Preconditioner | None = None
        self._in_intercept: Tensor | None = None

    def settle(self, penalty: float, point: Point, allowed: Tensor) -> Point:
        """Move until neither of these coordinates adds more to the certificate than is allowed (G,).

        Directions and head add ||gradient||^2 / (2 penalty), intercepts the cost of balancing the residuals.
        """
        limit = penalty * allowed
        for _ in range(_SWEEPS):
            before = point
            gradient = penalty * point.along - self.model.directions.correlate(self.model.loss.weigh(point.residual))
            if (gradient.double().square().sum(1) > limit).any():
                point = self._directions_step(penalty, point, gradient)
            gradient = penalty * point.head - self.model.head_correlate(self.model.loss.weigh(point.residual))
            excess = gradient.double().square().sum((1, 2)) > limit
            if excess.any() or (point is before and (self._imbalance(point) > allowed).any()):
                point = self._head_step(penalty, point, gradient, limit)
            if point is before:
                break
        return point

    def refresh(self) -> None:
        """The penalty has changed: compute the Hessians and the head's preconditioner anew when they are needed next."""
        self._stale, self._preconditioner, self._in_intercept = True, None, None

    def extend(self, residual: Tensor) -> None:
        """A direction was appended: extend the Hessian by its row, with the curvature at residuals (G, r, n)."""
        if self._stale:
            return
        loss, directions = self.model.loss, self.model.directions
        new = loss.weigh(loss.curve(loss.curvature(residual), directions.logits[:, -1:]))[:, 0]
        row, m = directions.correlate(new), directions.count
        hessian = torch.empty(loss.groups, m, m, device=row.device)
        hessian[:, :-1, :-1], hessian[:, -1], hessian[:, :, -1] = self._hessian, row, row
        self._hessian, self._cross = hessian, torch.cat([self._cross, new.sum(2)[:, None]], 1)

    def rotate(self, rotation: Tensor) -> None:
        """The directions were condensed."""
        if not self._stale:
            self._hessian = torch.bmm(torch.bmm(rotation, self._hessian), rotation.transpose(1, 2))
            self._cross = torch.bmm(rotation, self._cross)

    def _imbalance(self, point: Point) -> Tensor:
        """What balancing the residuals would add to the certificate, float64 (G,): a Newton step in the intercepts.

        About: the Hessian may be that of an earlier point of the same penalty.
        """
        if self._in_intercept is None:
            self._in_intercept = self.model.loss.intercept_hessian(point.residual)
        surplus = self.model.loss.weigh(point.residual).sum(2, dtype=torch.float64)
        added: Tensor = (torch.linalg.solve(self._in_intercept, surplus) * surplus).sum(1)
        return added

    def _compute(self, residual: Tensor) -> None:
        loss, logits = self.model.loss, self.model.directions.logits
        groups, m, rows, n = logits.shape
        hessian, cross = logits.new_zeros(groups, m, m), logits.new_zeros(groups, m, rows)
        curvature = loss.curvature(residual)
        width = max(128, _BLOCK_BYTES // (4 * groups * m * rows))  # a block's temporaries stay in the cache
        for start in range(0, n, width):
            part = slice(start, start + width)
            block = logits[..., part]
            curved = loss.weigh(loss.curve(curvature[..., part], block), part)
            cross += curved.sum(3)
            hessian += torch.bmm(block.reshape(groups, m, -1), curved.reshape(groups, m, -1).transpose(1, 2))
        self._hessian, self._cross, self._stale = (hessian + hessian.transpose(1, 2)) / 2, cross, False

    def _directions_step(self, penalty: float, point: Point, gradient: Tensor) -> Point:
        if self._stale:
            self._compute(point.residual)
        loss, m = self.model.loss, point.along.shape[1]
        eye = torch.eye(m, dtype=torch.float64, device=gradient.device)
        upper = torch.cat([self._hessian.double() + penalty * eye, self._cross.double()], 2)
        self._in_intercept = loss.intercept_hessian(point.residual)
        lower = torch.cat([self._cross.double().transpose(1, 2), self._in_intercept], 2)
        in_intercept = -loss.weigh(point.residual).sum(2, dtype=torch.float64)
        slope = torch.cat([gradient.double(), in_intercept], 1)
        change = -torch.linalg.solve(torch.cat([upper, lower], 1), slope)
        along, intercept = change[:, :m].float(), change[:, m:].float()
        logits = self.model.directions.combine_logits(along) + loss.relative(
            intercept[..., None].expand_as(point.logits)
        )
        moved = self._search(penalty, point, Step(along, None, intercept, logits))
        expected = -(change * slope).sum(1) / 2
        ratio = (point.value - moved.value) / expected.clamp_min(1e-300)
        self._stale = bool(((expected > 1e-6 * point.value) & ((ratio < 0.7) | (ratio > 1.5))).any())
        return moved

    def _head_step(self, penalty: float, point: Point, gradient: Tensor, limit: Tensor) -> Point:
        model, loss = self.model, self.model.loss
        if self._preconditioner is None:
            self._preconditioner = Preconditioner(model, penalty, point.residual)
        inverse = self._preconditioner
        slope = torch.cat([gradient, -loss.weigh(point.residual).sum(2, keepdim=True)], 2)
        # Scaled to length one, because float32 would lose the squares of tiny gradients.
        scale = torch.linalg.vector_norm(slope, dim=(1, 2), keepdim=True).clamp_min(1e-30)
        rest, change = -slope / scale, torch.zeros_like(slope)
        curvature = loss.curvature(point.residual)
        towards = inverse(rest)
        alignment = _inner(rest, towards)
        for _ in range(_CG_STEPS):
            model.rows.look()
            in_head, in_intercept = model.head_curvature(curvature, towards[..., :-1], towards[..., -1])
            image = torch.cat([in_head + penalty * towards[..., :-1], in_intercept[..., None]], 2)
            length = alignment / _inner(towards, image).clamp_min(1e-30)
            change, rest = change + length * towards, rest - length * image
            left = (rest[..., :-1] * scale).double().square().sum((1, 2))
            if (left < limit / 2).all():
                break
            conditioned = inverse(rest)
            following = _inner(rest, conditioned)
            towards = conditioned + following / alignment.clamp_min(1e-30) * towards
            alignment = following
        change *= scale
        head, intercept = change[..., :-1], change[..., -1]
        return self._search(penalty, point, Step(None, head, intercept, model.head_logits(head, intercept)))

    def _search(self, penalty: float, point: Point, step: Step) -> Point:
        """The longest of 1, 1/2, 1/4, ... times the step that does not raise the objective beyond its rounding."""
        length = torch.ones_like(point.value, dtype=torch.float32)
        for _ in range(30):
            moved = self.model.moved(penalty, point, step, length)
            good = moved.value <= point.value * (1 + 1e-6)
            if good.all():
                return moved
            length = torch.where(good, length, length / 2)
        return point


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2), keepdim=True)
