"""Newton's method on all weights at once, in float64: for small problems, and where directions in float32 do not certify.

Where classes separate, the optimum at weak penalties is far away and ill-conditioned. Here nothing is left out, and a start from
which no step would lead is brought back to where the loss is curved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sslbench.logistic.certificate import balanced, charge, relative
from sslbench.logistic.hessian import AllWeights, Hessian
from sslbench.logistic.path import Solution, lagrange, matching_penalty

# Penalties this far apart are solved in turn; those between are interpolated, and solved only if that does not certify.
_STRIDE = 3.3
# Further apart than this, penalties in between are passed through, to a gap of no more than this.
_LEAP, _PASSING = 30.0, 1e-2
_NODES = 4
_NEWTON_STEPS = 100
# Steps without progress before a penalty is given up.
_PATIENCE = 5
_ROUNDING = 1e-13
# Of the gradient's square in the preconditioner's norm, what a Newton step may leave unless less certifies.
_FORCING = 1e-4
# Steps of conjugate gradients that a fresh preconditioner of the whole Hessian takes.
_FRESH = 4


@dataclass(frozen=True)
class _State:
    """At weights with intercepts last, theta (G, r, d + 1): relative logits and residuals (G, r, n), objective (G,)."""

    theta: Tensor
    logits: Tensor
    residual: Tensor
    value: Tensor


class FullNewton:
    """Solves penalties in descending order, each to the relative gap `tol`.

    Newton steps by conjugate gradients, whose products are float32; points, gradients and certificates are float64.
    """

    def __init__(self, weights: AllWeights, tol: float, hessian: Hessian) -> None:
        self.weights, self.loss, self.tol, self.hessian = weights, weights.loss, tol, hessian
        self._excess = math.inf
        rows = weights.rows
        self._origin = torch.zeros(
            self.loss.groups, self.loss.rows, rows.d + 1, dtype=torch.float64, device=rows.device
        )
        self._origin[..., -1] = self.loss.prior
        self._solved: list[tuple[float, Tensor]] = []

    def start(self, weights: Tensor, intercept: Tensor, penalty: float) -> None:
        """Begin at weights (G r, d) and intercepts (G, r) thought to be good at a penalty."""
        theta = torch.cat([weights.view(*intercept.shape, -1), intercept[..., None]], 2).to(self._origin)
        state = self._shrunk(self._state(self.weights.zero_sum(theta), penalty), penalty)
        products = self.weights.adjoint(self.loss.weigh(state.residual))[..., :-1]
        self._solved = [(matching_penalty(products, state.theta[..., :-1], penalty), state.theta)]

    def solve(self, penalties: Sequence[float]) -> list[Solution]:
        """One solution for each of the penalties, which must descend strictly."""
        solutions: dict[float, Solution] = {}
        first = 0
        while first < len(penalties):
            last = first
            while self._solved and last + 1 < len(penalties) and self._solved[-1][0] <= _STRIDE * penalties[last + 1]:
                last += 1
            self._approach(penalties[last])
            solutions[penalties[last]] = self._node(penalties[last], self.tol)
            for penalty in penalties[first:last]:
                solutions[penalty] = _solution(*self._minimise(self._predicted(penalty), penalty, self.tol))
            first = last + 1
        return [solutions[penalty] for penalty in penalties]

    def _approach(self, penalty: float) -> None:
        """Pass through penalties above one that is far below the last, or below those at which weights vanish."""
        last = self._solved[-1][0] if self._solved else self._largest_curvature()
        steps = math.ceil(math.log10(last / penalty)) if last > _LEAP * penalty else 0
        for step in range(1 if self._solved else 0, steps):
            self._node(last * (penalty / last) ** (step / steps), _PASSING)

    def _node(self, penalty: float, tol: float) -> Solution:
        state, gap = self._minimise(self._predicted(penalty), penalty, tol)
        self._solved = [*self._solved, (penalty, state.theta)][-_NODES:]
        return _solution(state, gap)

    def _largest_curvature(self) -> float:
        """Of the loss at zero weights, by a few steps of the power method."""
        self.hessian.move(self._state(self._origin, 1.0).residual, 0.0)
        length = torch.ones(1)
        vector = torch.randn(self.loss.groups, len(self.hessian.penalised), generator=torch.Generator().manual_seed(0))
        vector = vector.to(self._origin)
        for _ in range(5):
            vector = self.hessian.times(vector) * self.hessian.penalised
            length = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
            vector = vector / length.clamp_min(1e-300)
        return float(length.max())

    def _predicted(self, penalty: float) -> _State:
        """By a polynomial in log penalty through the solved ones, as long as that is better than the nearest of them."""
        if not self._solved:
            return self._state(self._origin, penalty)
        nearest = sorted(self._solved, key=lambda node: abs(math.log(node[0] / penalty)))
        best = self._state(nearest[0][1], penalty)
        for count in range(len(nearest), 1, -1):
            shares = lagrange([math.log(node[0]) for node in nearest[:count]], math.log(penalty))
            theta = torch.stack([share * node[1] for share, node in zip(shares, nearest, strict=False)]).sum(0)
            if max(map(abs, shares)) < 6 and ((ahead := self._state(theta, penalty)).value < best.value).all():
                return ahead
        return best

    def _shrunk(self, state: _State, penalty: float) -> _State:
        """The state at the first of theta, theta / 2, theta / 4, ... that the next does not improve on.

        Samples that a start has far on the wrong side have no curvature there, and Newton's steps from it lead nowhere.
        """
        for _ in range(40):
            nearer = self._at(state.theta / 2, state.logits / 2, penalty)
            better = (nearer.value < state.value)[:, None, None]
            if not better.any():
                break
            theta = torch.where(better, nearer.theta, state.theta)
            state = self._at(theta, torch.where(better, nearer.logits, state.logits), penalty)
        return state

    def _minimise(self, state: _State, penalty: float, tol: float) -> tuple[_State, Tensor]:
        least, idle = torch.full_like(state.value, torch.inf), 0
        for _ in range(_NEWTON_STEPS):
            gradient = self._gradient(state, penalty)
            rough = gradient[..., :-1].square().sum((1, 2)) / (2 * penalty)
            if (rough <= tol * state.value).all() and ((gap := self._gap(state, penalty)) <= tol).all():
                return state, gap
            moved = self._search(state, self._step(state, gradient, penalty), penalty)
            if moved is None:
                break
            lower = (moved.value < state.value * (1 - _ROUNDING)) | (rough < 0.5 * least)
            idle = 0 if lower.any() else idle + 1
            if idle > _PATIENCE:
                break
            state, least = moved, torch.minimum(least, rough)
        return state, self._gap(state, penalty)

    def _state(self, theta: Tensor, penalty: float) -> _State:
        return self._at(theta, self.weights.forward(theta), penalty)

    def _at(self, theta: Tensor, logits: Tensor, penalty: float) -> _State:
        loss, residual = self.loss.evaluate(logits)
        return _State(theta, logits, residual, loss + penalty / 2 * theta[..., :-1].square().sum((1, 2)))

    def _gap(self, state: _State, penalty: float) -> Tensor:
        residual, moved = balanced(self.loss, state.residual)
        weighted = self.loss.weigh(residual)
        products = self.weights.adjoint(weighted)
        gradient = penalty * state.theta[..., :-1] - products[..., :-1]
        bound = gradient.square().sum((1, 2)) / (2 * penalty) + moved
        return relative(bound + charge(products[..., -1], state.theta[..., -1]), state.value)

    def _gradient(self, state: _State, penalty: float) -> Tensor:
        return self.weights.zero_sum(
            penalty * state.theta * self.weights.penalised - self.weights.adjoint(self.loss.weigh(state.residual))
        )

    def _step(self, state: _State, gradient: Tensor, penalty: float) -> Tensor:
        """Conjugate gradients until what is left of the gradient certifies, or is small beside what there was."""
        hessian = self.hessian
        if self._excess > hessian.price:
            hessian.refresh(state.residual, penalty)
            self._excess = 0
        hessian.move(state.residual, penalty)
        # Of length one, because float32 would lose the squares of tiny gradients.
        length = torch.linalg.vector_norm(gradient, dim=(1, 2), keepdim=True).clamp_min(1e-300)
        certifies = 0.5 * penalty * self.tol * state.value[:, None] / length[..., 0] ** 2
        rest = hessian.inside(gradient / -length)
        step, towards = torch.zeros_like(rest), hessian.solve(rest)
        alignment = _inner(rest, towards)
        enough = _FORCING * alignment
        count = 0
        while count < hessian.steps:
            count += 1
            image = hessian.times(towards)
            share = alignment / _inner(towards, image).clamp_min(1e-300)
            step, rest = torch.addcmul(step, share, towards), torch.addcmul(rest, share, image, value=-1)
            conditioned = hessian.solve(rest)
            following = _inner(rest, conditioned)
            if ((following <= enough) | (_inner(rest, rest) <= certifies)).all():
                break
            towards = torch.addcmul(conditioned, following / alignment.clamp_min(1e-300), towards)
            alignment = following
        self._excess += max(count - _FRESH, 0)
        moved: Tensor = hessian.outside(step) * length
        return moved

    def _search(self, state: _State, step: Tensor, penalty: float) -> _State | None:
        """The longest of 1, 1/2, 1/4, ... times the step, group by group, that does not raise the objective beyond its rounding.

        None if none does. The last steps to a certificate at a weak penalty lower it by less than its rounding.
        """
        along = self.weights.forward(step)
        length = torch.ones_like(state.value)[:, None, None]
        for _ in range(40):
            moved = self._at(state.theta + length * step, state.logits + length * along, penalty)
            good = moved.value <= state.value * (1 + _ROUNDING)
            if good.all():
                return moved
            length = torch.where(good[:, None, None], length, length / 2)
        return None


def _solution(state: _State, gap: Tensor) -> Solution:
    weights = state.theta[..., :-1].flatten(0, 1).float()
    return Solution(weights, state.theta[..., -1].float(), state.value, gap)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    product: Tensor = torch.linalg.vecdot(a, b)
    return product[:, None]
