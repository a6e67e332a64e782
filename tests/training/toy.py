"""A task of milliseconds that has all that can go wrong on resuming: dropout, a generator, buffers, momentum."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.training.loop import Line, Plan, Step, train
from sslbench.training.schedules import cosine
from sslbench.training.trial_result import TrialResult

PLAN = Plan(steps=22, checkpoint_every=4, seed=5)


class Net(nn.Module):
    """`seen` is a buffer that a state dict leaves out, and that the loss needs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
        self.register_buffer("seen", torch.zeros(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layers(x)
        if self.training:
            self.seen = 0.9 * self.seen + 0.1 * out.detach().mean(dim=0)
        return out - self.seen


class Toy:
    """Data are drawn from the step's generator. poison: the number of a step whose loss becomes nan."""

    def __init__(self, rate: float = 0.1, poison: int | None = None) -> None:
        torch.manual_seed(1)
        self.model = Net()
        self.optimiser: torch.optim.Optimizer = torch.optim.SGD(
            self.model.parameters(), rate, momentum=0.9, nesterov=True
        )
        self.poison = poison
        self.steps: list[Step] = []
        self.before: Callable[[int], None] = lambda number: None

    def batch(self, step: Step) -> tuple[Tensor, Tensor, float]:
        self.before(step.number)
        self.steps.append(step)
        x = torch.randn(12, 6, generator=step.generator)
        return x, x.abs().argmax(dim=1) % 3, float("nan") if step.number == self.poison else 1.0

    def loss(self, batch: tuple[Tensor, Tensor, float]) -> Tensor:
        x, targets, factor = batch
        return F.cross_entropy(self.model(x), targets) * factor

    def run(self, folder: Path | None, plan: Plan = PLAN, begun_with: Mapping[str, Any] | None = None) -> list[Line]:
        return train(self, plan, schedule=cosine, begun_with=begun_with or {"task": "toy"}, folder=folder)

    def tensors(self) -> dict[str, Tensor]:
        momentum = {
            f"momentum.{number}": state["momentum_buffer"]
            for number, state in self.optimiser.state_dict()["state"].items()
        }
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers()), **momentum}


def trained(given: Mapping[str, Any], folder: Path | None) -> TrialResult:
    """A trial: the toy at a rate; `poison` makes it diverge."""
    toy = Toy(given["rate"], given.get("poison"))
    log = toy.run(folder, begun_with=given)
    return TrialResult({"rate": given["rate"], "losses": [line["loss"] for line in log]}, toy.model.state_dict())


if __name__ == "__main__":
    # For a test that kills this process: stops for good before the step asked for, and says so.
    toy = Toy()

    def stop(number: int) -> None:
        if number == int(sys.argv[2]):
            print("ready", flush=True)
            sys.stdin.read()

    toy.before = stop
    toy.run(Path(sys.argv[1]))
