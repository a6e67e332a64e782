"""Small problems: Newton's method on all weights at once, in float64.

Where the classes separate, the optimum at weak penalties is far away and ill-conditioned; few directions in float32 do not
reach it. With rows times dimensions up to two thousand the whole Hessian can be factored instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sslbench.probes.certificate import balanced, charge, relative
from sslbench.probes.loss import Loss
from sslbench.probes.path import Solution
from sslbench.probes.rows import Rows

# A factored Hessian of this many entries takes about as long as a few hundred of its products with a vector.
_ENTRIES = 1 << 22
_BUILD_FLOPS = 4e9
_NEWTON_STEPS = 60
_CG_STEPS = 40
_STALE_AFTER = 12


def is_small(rows: Rows, loss: Loss) -> bool:
    """Whether the Hessian is worth factoring."""
    entries = loss.groups * (loss.rows * (rows.d + 1)) ** 2
    return rows.resident is not None and entries <= _ENTRIES and rows.n * entries <= _BUILD_FLOPS


@dataclass(frozen=True)
class _State:
    """At weights with intercepts last, theta (G, r, d + 1): relative logits and residuals (G, r, n), objective (G,)."""

    theta: Tensor
    logits: Tensor
    residual: Tensor
    value: Tensor


class DenseSolver:
    """Solves penalties in descending order, each to the relative gap `tol`.

    Newton steps by conjugate gradients, preconditioned by the factored Hessian of an earlier point: it ages slowly along the
    path, since at weak penalties it shrinks in proportion.
    """

    def __init__(self, rows: Rows, loss: Loss, tol: float) -> None:
        self.loss, self.tol, self._work = loss, tol, rows.work
        if rows.resident is None:
            raise ValueError("the whole Hessian is for features in memory")
        x = rows.resident.double()
        self._x = torch.cat([x, x.new_ones(rows.n, 1)], 1)
        self._penalised = torch.ones(rows.d + 1, dtype=torch.float64, device=x.device)
        self._penalised[-1] = 0
        self._theta = x.new_zeros(loss.groups, loss.rows, rows.d + 1)
        self._theta[..., -1] = loss.prior
        self._factor: Tensor | None = None

    def start(self, weights: Tensor, intercept: Tensor, penalty: float) -> None:
        """Begin at weights (G r, d) and intercepts (G, r); of which penalty does not matter here."""
        theta = torch.cat([weights.view(*intercept.shape, -1), intercept[..., None]], 2)
        self._theta = theta.to(self._theta)

    def solve(self, penalties: Sequence[float]) -> list[Solution]:
        """One solution for each of the penalties, which must descend strictly."""
        solutions: list[Solution] = []
        solved: list[tuple[float, Tensor]] = []
        for penalty in penalties:
            state = self._state(self._theta, penalty)
            if len(solved) == 2:
                (before, a), (last, b) = solved
                share = math.log(penalty / last) / math.log(last / before)
                ahead = self._state(b + share * (b - a), penalty)
                if (ahead.value < state.value).all():
                    state = ahead
            state, gap = self._minimise(state, penalty)
            self._theta = state.theta
            solved = [*solved[-1:], (penalty, state.theta)]
            weights = state.theta[..., :-1].reshape(-1, self._x.shape[1] - 1).float()
            solutions.append(Solution(weights, state.theta[..., -1].float(), state.value, gap))
        return solutions

    def _minimise(self, state: _State, penalty: float) -> tuple[_State, Tensor]:
        for _ in range(_NEWTON_STEPS):
            gap = self._gap(state, penalty)
            if (gap <= self.tol).all():
                break
            moved = self._search(state, self._step(state, penalty), penalty)
            if moved is state:
                break
            state = moved
        return state, self._gap(state, penalty)

    def _state(self, theta: Tensor, penalty: float) -> _State:
        return self._at(theta, self._forward(theta), penalty)

    def _at(self, theta: Tensor, logits: Tensor, penalty: float) -> _State:
        loss, residual = self.loss.evaluate(logits)
        return _State(theta, logits, residual, loss + penalty / 2 * theta[..., :-1].square().sum((1, 2)))

    def _forward(self, theta: Tensor) -> Tensor:
        self._work.forward += 1
        self._count(theta)
        return self.loss.relative(theta @ self._x.T)

    def _adjoint(self, weighted: Tensor) -> Tensor:
        self._work.adjoint += 1
        self._count(weighted)
        return weighted @ self._x

    def _count(self, factor: Tensor) -> None:
        self._work.flops += 2.0 * factor.shape[0] * factor.shape[1] * self._x.numel()

    def _gap(self, state: _State, penalty: float) -> Tensor:
        residual, moved = balanced(self.loss, state.residual)
        weighted = self.loss.weigh(residual)
        gradient = penalty * state.theta[..., :-1] - self._adjoint(weighted)[..., :-1]
        bound = gradient.square().sum((1, 2)) / (2 * penalty) + moved
        return relative(bound + charge(weighted.sum(2), state.theta[..., -1]), state.value)

    def _gradient(self, state: _State, penalty: float) -> Tensor:
        return penalty * state.theta * self._penalised - self._adjoint(self.loss.weigh(state.residual))

    def _curve(self, state: _State, towards: Tensor, penalty: float) -> Tensor:
        logits = self._forward(towards)
        curved = self.loss.weigh(self.loss.curve(state.residual, logits[:, None])[:, 0])
        return self._adjoint(curved) + penalty * towards * self._penalised

    def _step(self, state: _State, penalty: float) -> Tensor:
        """Conjugate gradients until the residual is a twentieth, in the preconditioner's norm."""
        if self._factor is None:
            self._refresh(state, penalty)
        rest = -self._gradient(state, penalty)
        step, conditioned = torch.zeros_like(rest), self._precondition(rest)
        towards, alignment = conditioned, _inner(rest, conditioned)
        enough = alignment / 400
        count = 0
        while count < _CG_STEPS:
            count += 1
            image = self._curve(state, towards, penalty)
            length = alignment / _inner(towards, image).clamp_min(1e-300)
            step, rest = step + length * towards, rest - length * image
            conditioned = self._precondition(rest)
            following = _inner(rest, conditioned)
            if (following <= enough).all():
                break
            towards = conditioned + following / alignment.clamp_min(1e-300) * towards
            alignment = following
        if count > _STALE_AFTER:
            self._factor = None
        return step

    def _refresh(self, state: _State, penalty: float) -> None:
        """Factor the Hessian at a point, built from what it makes of one unit logit after the other."""
        groups, rows, n = state.residual.shape
        width = self._x.shape[1]
        units = torch.eye(rows, dtype=torch.float64, device=self._x.device)[None, ..., None].expand(
            groups, rows, rows, n
        )
        curved = self.loss.weigh(self.loss.curve(state.residual, self.loss.relative(units)))
        hessian = torch.stack(
            [
                torch.cat([(curved[g, a, b, :, None] * self._x).T @ self._x for b in range(rows)], 1)
                for g in range(groups)
                for a in range(rows)
            ]
        ).view(groups, rows * width, rows * width)
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        # A touch everywhere, because adding to all intercepts of a softmax changes nothing.
        touch = 1e-9 * diagonal.mean(1, keepdim=True).clamp_min(1e-300)
        diagonal += penalty * self._penalised.repeat(rows) + touch
        self._factor = torch.linalg.cholesky(hessian)
        self._work.flops += 2.0 * hessian.numel() * n

    def _precondition(self, rest: Tensor) -> Tensor:
        assert self._factor is not None
        return torch.cholesky_solve(rest.flatten(1)[..., None], self._factor)[..., 0].view_as(rest)

    def _search(self, state: _State, step: Tensor, penalty: float) -> _State:
        """The longest of 1, 1/2, 1/4, ... times the step, group by group, that lowers the objective; the state if none."""
        along = self._forward(step)
        length = torch.ones_like(state.value)[:, None, None]
        for _ in range(40):
            moved = self._at(state.theta + length * step, state.logits + length * along, penalty)
            good = moved.value <= state.value
            if good.all():
                return moved if (moved.value < state.value).any() else state
            length = torch.where(good[:, None, None], length, length / 2)
        return state


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2), keepdim=True)
