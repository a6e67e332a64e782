"""The certified path of linear probes beside what one would write: L-BFGS of torch on the same device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from compare_probes import PENALTIES, SIZES, Problem, Size, problem
from torch import Tensor
from torch.nn.functional import cross_entropy

from gpu_checks.bench import Bench, Found
from sslbench.logistic import SoftmaxPath, softmax_path

# The largest dataset of the study, less the fifth that is held out for selection.
FOOD101 = Size(60_600, 2048, 101)
SMALL = Size(200, 32, 3)


def pets(bench: Bench, found: Found) -> None:
    """3,680 x 2,048, 37 classes."""
    _path(bench, found, "Pets", SIZES["pets"], aim=0.25)


def cifar10(bench: Bench, found: Found) -> None:
    """50,000 x 2,048, 10 classes."""
    _path(bench, found, "CIFAR-10", SIZES["cifar10"], aim=1.0)


def food101(bench: Bench, found: Found) -> None:
    """75,750 x 2,048, 101 classes."""
    _path(bench, found, "Food-101", FOOD101, aim=None)


def _path(bench: Bench, found: Found, name: str, size: Size, aim: float | None) -> None:
    penalties = PENALTIES[::15] if bench.small else PENALTIES
    held = _Held.of(problem(SMALL if bench.small else size, signal=0.5), bench.device)
    results: list[tuple[SoftmaxPath, list[float]]] = []
    # The first run of a process pays for libraries and kernels.
    bench.seconds(lambda: results.append(_ours(held, penalties)))
    seconds = [bench.seconds(lambda: results.append(_ours(held, penalties))) for _ in bench.rounds()]
    path, scores = results[-1]
    took = found.row(f"path of {len(penalties)} penalties and their validation scores", "s", seconds)
    found.row("best validation accuracy", "%", [100 * max(scores)])
    found.row("largest certified gap", "1", [float(path.gap.max())])
    found.expect(bool(path.converged.all()), f"{name}: the path did not reach its tolerance at every penalty")
    if aim is not None:
        found.bar(f"path at the size of {name}", "s", took, at_most=aim)
    solved: list[tuple[float, float]] = []
    slower = bench.seconds(lambda: solved.extend(_lbfgs(bench, held, penalties)))
    objectives, theirs = zip(*solved, strict=True)
    found.row(f"torch L-BFGS, {len(solved)} penalties", "s", [slower])
    found.row("torch L-BFGS, best validation accuracy", "%", [100 * max(theirs)])
    excess = np.array(objectives) / path.objective.cpu().numpy()[: len(solved)] - 1
    found.row("torch L-BFGS, objective above the path's, each penalty", "%", 100 * excess)
    # Nothing is below an optimum by more than the certificate says.
    found.expect(excess.min() >= -1e-4, f"{name}: L-BFGS is below the certified optimum by {-excess.min():.1e}")
    if len(solved) == len(penalties):
        found.row("torch L-BFGS / path", "x", [slower / value for value in seconds])


@dataclass(frozen=True)
class _Held:
    """A problem on the device."""

    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor

    @classmethod
    def of(cls, data: Problem, device: str) -> _Held:
        return cls(*(torch.from_numpy(part).to(device) for part in (data.x, data.y, data.x_val, data.y_val)))

    def accuracy(self, values: Tensor) -> float:
        return float((values.argmax(1) == self.y_val).double().mean())


def _ours(held: _Held, penalties: np.ndarray) -> tuple[SoftmaxPath, list[float]]:
    path = softmax_path(held.x, held.y, penalties)
    return path, [held.accuracy(values) for values in path.decision(held.x_val)]


def _lbfgs(bench: Bench, held: _Held, penalties: np.ndarray) -> list[tuple[float, float]]:
    """Objective and validation accuracy of each penalty, as far as the time reaches.

    As the study went: from weak to strong, each from the last one's solution, the mean loss, at most 100 iterations,
    until no gradient is above 1e-4.
    """
    count, classes = len(held.y), int(held.y.max()) + 1
    weight = torch.zeros(classes, held.x.shape[1], device=held.x.device, requires_grad=True)
    bias = torch.zeros(classes, device=held.x.device, requires_grad=True)
    found: list[tuple[float, float]] = []
    for penalty in penalties.tolist():
        if found and bench.late:
            break
        optimiser = torch.optim.LBFGS([weight, bias], max_iter=100, tolerance_grad=1e-4, line_search_fn="strong_wolfe")

        def objective(penalty: float = penalty, optimiser: torch.optim.Optimizer = optimiser) -> Tensor:
            optimiser.zero_grad()
            loss = cross_entropy(held.x @ weight.T + bias, held.y) + penalty / (2 * count) * weight.square().sum()
            loss.backward()
            return loss

        optimiser.step(objective)
        with torch.no_grad():
            losses = cross_entropy(held.x @ weight.T + bias, held.y, reduction="none").double().sum()
            total = float(losses + penalty / 2 * weight.double().square().sum())
            found.append((total, held.accuracy(held.x_val @ weight.T + bias)))
    return found
