"""One backbone's pretraining, as a trial of sslbench.training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import timm.layers
import torch
from torch import Tensor, nn

from pretraining.export import made_with
from pretraining.judge import Judgement
from pretraining.normalisation import normalise
from pretraining.objectives import Objective
from pretraining.photographs import Photographs
from pretraining.recipes import RECIPES, Budget
from sslbench.errors import TrainingError
from sslbench.training.loop import Line, Plan, Step, train
from sslbench.training.schedules import warmup_cosine
from sslbench.training.trial_result import TrialResult

# Raised when the same recipe, budget and pictures give other weights.
VERSION = 1
JUDGE_EVERY = 4

Judge = Callable[[nn.Module], Judgement]
Say = Callable[[str], None]
Batch = tuple[Tensor, Tensor, Tensor]


def ingredients(name: str, budget: Budget, data: Photographs) -> dict[str, Any]:
    """Everything that the result of a pretraining depends on besides the code, as plain data."""
    digest = hashlib.sha256()
    for tensor in (data.images, data.targets):
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    recipe = RECIPES[name]
    return {
        "recipe": name,
        "objective": recipe.objective.__name__,
        "views": asdict(recipe.views),
        "betas": list(recipe.betas),
        "budget": asdict(budget),
        "pictures": digest.hexdigest(),
    }


def pretrain(
    given: Mapping[str, Any], folder: Path | None, *, data: Photographs, device: str, judge: Judge,
    say: Callable[[str, str], None],
) -> TrialResult:  # fmt: skip
    """The weights of the backbone in float32; under `log` its log, under `made_with` what a card tells of machine and versions.

    given: `ingredients` of the same data. say: gets the recipe's name and each line. Log and errors: `Pretraining.run`.
    """
    training = Pretraining(given["recipe"], Budget(**given["budget"]), data, device)
    log = training.run(given, folder, judge, partial(say, given["recipe"]))
    return TrialResult({"log": log, "made_with": made_with(device)}, training.model.backbone.state_dict())


class Pretraining:
    """What the loop trains: an objective on two views of each picture of an epoch."""

    def __init__(self, name: str, budget: Budget, data: Photographs, device: str) -> None:
        self.recipe, self.budget = RECIPES[name], budget
        self.data = Photographs(data.images.to(device), data.targets.to(device))
        self.steps = len(data.images) // budget.batch
        if not self.steps:
            raise TrainingError(f"{len(data.images)} pictures do not fill a batch of {budget.batch}")
        torch.manual_seed(budget.seed)
        classes = int(data.targets.max()) + 1
        # On a CPU the fused attention of small heads is slower: 268 against 338 views/s for the masked autoencoder. Networks ask
        # when they are built, and others of this process are not to be built otherwise than they are elsewhere.
        fused = timm.layers.use_fused_attn()
        timm.layers.set_fused_attn(not device.startswith("cpu"))
        self.model: Objective = self.recipe.objective(classes).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        timm.layers.set_fused_attn(fused)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(
            trained, budget.learning_rate, betas=self.recipe.betas, weight_decay=budget.weight_decay
        )

    def batch(self, step: Step) -> Batch:
        """Two views of the pictures whose turn it is in this epoch's order, and their targets."""
        place = step.number % self.steps
        if place == 0:
            self._order = torch.randperm(
                len(self.data.images), generator=step.generator, device=self.data.images.device
            )
        rows = self._order[place * self.budget.batch : (place + 1) * self.budget.batch]
        images = self.data.images[rows]
        first, second = (
            normalise(self.recipe.views(images, step.generator)).contiguous(memory_format=torch.channels_last)
            for _ in range(2)
        )
        self.model.before_step(step.progress)
        return first, second, self.data.targets[rows]

    def loss(self, batch: Batch) -> Tensor:
        """The objective's."""
        return self.model.loss(*batch)

    def run(self, given: Mapping[str, Any], folder: Path | None, judge: Judge, say: Say) -> list[Line]:
        """Train the epochs that are missing and return the log. given: `ingredients`.

        Each line: epoch, loss (mean over the epoch), seconds, views_per_second; every fourth also effective_rank and
        knn (%). Raises TrainingError for a state in `folder` that was begun with something else, DivergedError.
        """
        budget = self.budget
        # An epoch's order and views come from one generator, so that a training can only go on between epochs.
        plan = Plan(budget.epochs * self.steps, self.steps, budget.seed, reseed_every=self.steps)
        return train(
            self,
            plan,
            schedule=partial(warmup_cosine, warmup=budget.warmup),
            begun_with=given,
            folder=folder,
            observe=partial(self._observe, judge=judge),
            say=say,
        )

    def _observe(self, line: Line, judge: Judge) -> Line:
        epoch = line["step"] // self.steps - 1
        seconds = line["seconds"]
        rate = 2 * self.steps * self.budget.batch / seconds
        told = {"epoch": epoch, "loss": line["loss"], "seconds": seconds, "views_per_second": rate}
        return told | asdict(judge(self.model.backbone)) if (epoch + 1) % JUDGE_EVERY == 0 else told
