"""The training loop: seeded, logged, and resumable after an interrupt with the same result."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm.layers
import torch
from torch import Tensor

from pretraining import state
from pretraining.judge import Judgement
from pretraining.objectives import Objective
from pretraining.photographs import Photographs
from pretraining.recipes import RECIPES, Budget
from sslbench.errors import SslbenchError
from sslbench.files import write_atomic

Say = Callable[[str], None]
JUDGE_EVERY = 4


class Training:
    """One backbone's training below `folder`: `state.pt` after each epoch, `log.jsonl` with a line each."""

    def __init__(self, name: str, budget: Budget, data: Photographs, folder: Path, device: str) -> None:
        self.recipe, self.budget, self.folder, self.device = RECIPES[name], budget, folder, device
        self.data = Photographs(data.images.to(device), data.targets.to(device))
        self.steps = len(data.images) // budget.batch
        if not self.steps:
            raise SslbenchError(f"{len(data.images)} pictures do not fill a batch of {budget.batch}")
        # On a CPU the fused attention of small heads is slower: 268 against 338 views/s for the masked autoencoder.
        timm.layers.set_fused_attn(not device.startswith("cpu"))
        self.begun_with = state.begun_with(name, self.recipe, budget, data)
        torch.manual_seed(budget.seed)
        classes = int(data.targets.max()) + 1
        self.objective: Objective = self.recipe.objective(classes).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        trained = [parameter for parameter in self.objective.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(
            trained, budget.learning_rate, betas=self.recipe.betas, weight_decay=budget.weight_decay
        )
        self.log: list[dict[str, Any]] = []
        self._resume()

    @property
    def _state_file(self) -> Path:
        return self.folder / "state.pt"

    def _tensors(self) -> dict[str, Tensor]:
        # Not state_dict(): lightly's queue of keys is a buffer that a state dict leaves out.
        return {**dict(self.objective.named_parameters()), **dict(self.objective.named_buffers())}

    def _resume(self) -> None:
        if not self._state_file.is_file():
            return
        tensors = self._tensors()
        found = state.read(self._state_file, self.begun_with, tensors)
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(found["tensors"][name])
        self.optimiser.load_state_dict(found["optimiser"])
        self.log = found["log"]

    def _save(self) -> None:
        parts = {"begun_with": self.begun_with, "tensors": self._tensors(), "log": self.log}
        state.write(self._state_file, {**parts, "optimiser": self.optimiser.state_dict()})
        lines = "".join(json.dumps(line) + "\n" for line in self.log)
        write_atomic(self.folder / "log.jsonl", lines.encode())

    def run(self, judge: Callable[[torch.nn.Module], Judgement], say: Say) -> list[dict[str, Any]]:
        """Train the epochs that are missing and return the log.

        Each line: epoch, loss (mean over the epoch), seconds, views_per_second; every fourth also effective_rank and
        knn (%). Raises SslbenchError when the loss is not finite.
        """
        while len(self.log) < self.budget.epochs:
            epoch = len(self.log)
            start = time.perf_counter()
            loss = self._epoch(epoch)
            seconds = time.perf_counter() - start
            rate = 2 * self.steps * self.budget.batch / seconds
            line = {"epoch": epoch, "loss": loss, "seconds": seconds, "views_per_second": rate}
            if (epoch + 1) % JUDGE_EVERY == 0:
                line |= asdict(judge(self.objective.backbone))
            self.log.append(line)
            self._save()
            say("  ".join(f"{name} {value:.5g}" for name, value in line.items()))
        return self.log

    def _epoch(self, epoch: int) -> float:
        # Everything random in an epoch comes from seed and epoch, so that a resumed run draws what an unbroken one does.
        seed = self.budget.seed * 100_003 + epoch + 1
        torch.manual_seed(seed)
        generator = torch.Generator(device=self.device).manual_seed(seed)
        order = torch.randperm(len(self.data.images), generator=generator, device=self.device)
        self.objective.train()
        total = torch.zeros((), device=self.device)
        for step, rows in enumerate(order[: self.steps * self.budget.batch].split(self.budget.batch)):
            progress = epoch / self.budget.epochs + step / (self.steps * self.budget.epochs)
            total += self._step(rows, progress, generator)
        mean = float(total) / self.steps
        if not math.isfinite(mean):
            raise SslbenchError(f"the loss of epoch {epoch + 1} is {mean}; lower --learning-rate")
        return mean

    def _step(self, rows: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        warmup = self.budget.warmup
        rate = (
            progress / warmup if progress < warmup else (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self.budget.learning_rate * rate
        images, targets = self.data.images[rows], self.data.targets[rows]
        first, second = (
            self.recipe.views(images, generator).contiguous(memory_format=torch.channels_last) for _ in range(2)
        )
        self.objective.before_step(progress)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.device.startswith("cuda")):
            loss = self.objective.loss(first, second, targets)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.detach()
