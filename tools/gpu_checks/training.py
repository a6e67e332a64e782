"""A training that is interrupted ends with the bits of an undisturbed one, on this device too."""

from __future__ import annotations

import tempfile
from pathlib import Path

import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from gpu_checks.bench import Bench, Found
from gpu_checks.steps import different_tensors
from sslbench.training.augment import Views
from sslbench.training.loop import Line, Plan, Step, train
from sslbench.training.schedules import cosine

CLASSES = 10


class _Stopped(Exception):
    pass


class FineTuning:
    """A ResNet-50 from timm's initial weights, SGD with Nesterov's momentum, on views of noise."""

    def __init__(self, bench: Bench) -> None:
        name, side, self.count = ("test_resnet", 64, 8) if bench.small else ("resnet50", 224, 64)
        self.views = Views(side, jitter=0.4, grey=0.2)
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=CLASSES)
        self.model = model.to(bench.device).to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
        shape = (4 * self.count, 3, side, side)
        self.images = torch.randint(0, 256, shape, dtype=torch.uint8).to(bench.device)

    def batch(self, step: Step) -> tuple[Tensor, Tensor]:
        """Pictures and classes at random."""
        device = self.images.device
        rows = torch.randint(len(self.images), (self.count,), generator=step.generator, device=device)
        views = self.views(self.images[rows], step.generator)
        return views.contiguous(memory_format=torch.channels_last), rows % CLASSES

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy."""
        images, targets = batch
        return F.cross_entropy(self.model(images), targets)

    def run(self, plan: Plan, folder: Path, *, stops: bool = False) -> list[Line]:
        """The log. stops: after the first checkpoint, with `_Stopped`."""

        def say(line: str) -> None:
            if stops:
                raise _Stopped

        return train(self, plan, schedule=cosine, begun_with={}, folder=folder, say=say)


def training(bench: Bench, found: Found) -> None:
    """40 steps of 64 pictures, and again with an interrupt half-way."""
    steps = 4 if bench.small else 40
    plan = Plan(steps, steps // 2)
    with tempfile.TemporaryDirectory() as below:
        whole, resumed = FineTuning(bench), FineTuning(bench)
        log = whole.run(plan, Path(below) / "whole")
        try:
            FineTuning(bench).run(plan, Path(below) / "parts", stops=True)
        except _Stopped:
            resumed.run(plan, Path(below) / "parts")
    found.row("a training's pictures", "1/s", [plan.checkpoint_every * whole.count / line["seconds"] for line in log])
    moved = different_tensors(whole.model, resumed.model)
    found.row("tensors that an interrupt changes", "1", [len(moved)])
    found.expect(not moved, f"{len(moved)} tensors are others after an interrupt, such as {', '.join(moved[:3])}")
