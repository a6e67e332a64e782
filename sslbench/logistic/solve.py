"""What the public functions share: penalties in any order, a memory budget, results in the features' coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sslbench.errors import DataError
from sslbench.logistic.features import Source
from sslbench.logistic.full_newton import FullNewton
from sslbench.logistic.hessian import AllWeights, LargeHessian, SmallHessian, is_small
from sslbench.logistic.losses import Loss
from sslbench.logistic.objective import Model
from sslbench.logistic.path import PathSolver, Solution
from sslbench.logistic.products import Rows
from sslbench.logistic.result import Work
from sslbench.threads import giving_way

_MOST_DIRECTIONS, _FEWEST_DIRECTIONS = 18, 9
_CPU_MEMORY = 4 << 30


@dataclass(frozen=True)
class Start:
    """A solution to begin from: coef (k, d), intercept (k,), of some penalty, perhaps on other samples."""

    coef: Tensor
    intercept: Tensor
    penalty: float

    def checked(self, rows: int, d: int) -> Start:
        """Itself, if it fits (k, d) = (rows, d); intercepts of classes without samples made finite. Raises DataError."""
        finite = self.intercept[self.intercept.isfinite()]
        if self.coef.shape != (rows, d) or self.intercept.shape != (rows,) or not len(finite) or not self.penalty > 0:
            raise DataError(
                f"start: expected coef ({rows}, {d}), intercept ({rows},) and a positive penalty, got "
                f"{tuple(self.coef.shape)}, {tuple(self.intercept.shape)} and {self.penalty}"
            )
        return Start(self.coef, self.intercept.clamp_min(float(finite.min())), self.penalty)


@dataclass(frozen=True)
class Solved:
    """coef: float32 (L, R, d). intercept: float64 (L, R). objective, gap: float64 (L, G) on the CPU."""

    coef: Tensor
    intercept: Tensor
    objective: Tensor
    gap: Tensor
    work: Work


def read(source: Source, device: torch.device, memory: int | None) -> Rows:
    """The features on the device, resident when they fit in half of the memory (bytes)."""
    with giving_way():
        return Rows(source, device, Work(), resident_bytes=_budget(device, memory) // 2)


def solve_path(
    rows: Rows, loss: Loss, lambdas: Tensor, tol: float, *, memory: int | None = None, start: Start | None = None
) -> Solved:
    """Solve for every penalty."""
    rows.to_row_space()
    # The features' scale is divided out, and the penalty has its square.
    scaled = (lambdas / rows.scale**2).tolist()
    penalties: Sequence[float] = sorted(set(scaled), reverse=True)
    mean = rows.mean.double()
    first = None
    if start is not None:
        intercept = start.intercept.to(mean) + start.coef.to(mean) @ mean
        weights = rows.reduce(start.coef.to(rows.device, torch.float32))
        first = (weights, intercept.float().view(loss.groups, loss.rows), start.penalty / rows.scale**2)
    with giving_way() as rows.look:
        solutions = _solve(rows, loss, penalties, tol, memory, first)
    ordered = [solutions[penalty] for penalty in scaled]
    coef = rows.expand(torch.stack([solution.weights for solution in ordered]))
    centred = torch.stack([solution.intercept.reshape(-1) for solution in ordered]).double()
    return Solved(
        coef,
        centred - coef.double() @ mean,
        torch.stack([solution.value for solution in ordered]).cpu(),
        torch.stack([solution.gap for solution in ordered]).cpu(),
        rows.work,
    )


def _solve(
    rows: Rows,
    loss: Loss,
    penalties: Sequence[float],
    tol: float,
    memory: int | None,
    start: tuple[Tensor, Tensor, float] | None,
) -> dict[float, Solution]:
    solver: PathSolver | FullNewton
    if is_small(rows, loss):
        rows.keep_double()
        weights = AllWeights(rows, loss)
        solver = FullNewton(weights, tol, SmallHessian(weights))
    else:
        row_bytes = 4 * loss.groups * loss.rows * (rows.n + rows.d)
        directions = min(_MOST_DIRECTIONS, max(_FEWEST_DIRECTIONS, _budget(rows.device, memory) // 4 // row_bytes))
        solver = PathSolver(Model(rows, loss, directions), tol)
    if start is not None:
        solver.start(*start)
    solutions = dict(zip(penalties, solver.solve(penalties), strict=True))
    return solutions if isinstance(solver, FullNewton) else solutions | _certified(rows, loss, tol, solutions)


def _certified(rows: Rows, loss: Loss, tol: float, solutions: Mapping[float, Solution]) -> dict[float, Solution]:
    """Solutions of those penalties whose gap is above the tolerance, from where they are, without leaving anything out."""
    failed = [penalty for penalty, solution in solutions.items() if not (solution.gap <= tol).all()]
    if not failed:
        return {}
    weights = AllWeights(rows, loss)
    hessian = LargeHessian(weights)
    found = {}
    for penalty in failed:
        solver = FullNewton(weights, tol, hessian)
        solver.start(solutions[penalty].weights, solutions[penalty].intercept, penalty)
        (solution,) = solver.solve([penalty])
        if (solution.gap <= solutions[penalty].gap.clamp_min(tol)).all():
            found[penalty] = solution
    return found


def _budget(device: torch.device, memory: int | None) -> int:
    if memory is not None:
        return memory
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else _CPU_MEMORY
