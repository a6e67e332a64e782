"""One training of a network with a dense head, and what it predicts afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from sslbench.errors import BackboneError, TrainingError
from sslbench.heads.dense_network import DenseNetwork
from sslbench.heads.dilation import dilate
from sslbench.heads.levels import last_level, several_levels
from sslbench.heads.ppm import MOMENTUM, PPMHead
from sslbench.heads.upernet import UPerNetHead
from sslbench.protocols._dense_coding import Array, Coding
from sslbench.protocols._dense_options import DenseTask, Options, Recipe
from sslbench.protocols._dense_pictures import (
    DensePictures,
    batches_alike,
    labels_shown,
    padded,
    resized,
    rows_enlarged,
)
from sslbench.protocols._detection_pictures import Stream, shown
from sslbench.protocols._network_parts import (
    accept_any_size,
    batch_norms,
    behind_maps,
    decay_groups,
    frozen_modules,
    tried,
)
from sslbench.protocols._read_ahead import ReadAhead
from sslbench.protocols._training_run import trained
from sslbench.training.loop import Plan, Step
from sslbench.training.progress import GridBar
from sslbench.training.schedules import poly
from sslbench.training.seeds import seed_of
from sslbench.training.transfer import sent
from sslbench.training.trial_result import TrialResult

if TYPE_CHECKING:
    from sslbench.backbones import Backbone, Preprocessing
    from sslbench.backbones.backbone import Level

CHECKPOINT_STEPS, CHECKPOINT_SECONDS = 10, 30.0
# The loop draws its seeds for fewer groups of steps than this.
_MOST_GROUPS = 100_000
# Class maps that are kept once they were read.
_KEPT_BYTES = 1 << 30
# Of a batch of test pictures: one of the study's size, or many small ones; and of probabilities that are there at once.
_TEST_PIXELS, _TEST_VALUES = 1 << 18, 1 << 25
# BatchNorm's statistics have forgotten where they began after a training of so many times the steps that they go back.
_FORGOTTEN = 10

Batch = tuple[Tensor, Tensor]


class DenseLearner:
    """Batches of pictures of one random size, with the labels of the head's grid.

    The loss is the mean cross-entropy over the cells that count, and 0 where none does. seed: of order, sizes and flips, each
    step's by its number alone; dropout is drawn from torch's generator, which the loop seeds. outside: the label of padding.
    """

    def __init__(
        self, network: DenseNetwork, optimiser: torch.optim.Optimizer, pictures: DensePictures, preprocessing: Preprocessing,
        recipe: Recipe, *, batch: int, seed: int, flips: bool, outside: int,
    ) -> None:  # fmt: skip
        self.model, self.optimiser = network, optimiser
        self._pictures, self._preprocessing, self._recipe = pictures, preprocessing, recipe
        self._seed, self._flips, self._outside, self._none = seed, flips, outside, pictures.coding.none
        self._device = next(network.parameters()).device
        self._sizes = pictures.sizes()
        self._maps = ReadAhead(pictures.encoded, _KEPT_BYTES)
        sizes = torch.tensor(self._sizes)
        self._stream = Stream(sizes, batch, seed)
        # A second one looks ahead, so that neither has to go back.
        self._next = Stream(sizes, batch, seed)
        self._draws = torch.Generator()

    def batch(self, step: Step) -> Batch:
        """Normalised pictures (B, 3, H, W), and labels (B, h, w) of the head's grid."""
        items = self._stream.batch(step.number)
        coming = self._next.batch(step.number + 1)
        pictures = self._pictures.pictures.take(items)
        self._pictures.pictures.prefetch(coming)
        maps = self._maps.take(items)
        self._maps.prefetch(coming)
        self._draws.manual_seed(seed_of(self._seed, "step", step.number))
        short = self._recipe.short[int(torch.randint(len(self._recipe.short), (), generator=self._draws))]
        flips = torch.rand(len(items), generator=self._draws) < (0.5 if self._flips else 0.0)
        shapes = [resized(self._sizes[item], short, self._recipe.longest) for item in items]
        images = shown(pictures, shapes, flips, self._preprocessing, self.model.divisor)
        whole = (images.shape[2], images.shape[3])
        labels = labels_shown(
            maps, shapes, flips.tolist(), whole, self.model.grid(whole), none=self._none, outside=self._outside
        )
        return images, sent(torch.from_numpy(labels), self._device)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the cells that count."""
        images, labels = batch
        logits = self.model(images)
        total = F.cross_entropy(logits, labels.long(), ignore_index=self._none, reduction="sum")
        return total / (labels != self._none).sum().clamp(min=1)


@dataclass(frozen=True)
class Setting:
    """What the training of a case and its test share.

    options: of the variant. recipe: at the size that is asked for. coding: of the targets. levels: of the network's maps.
    compat: the choices that concern the task. case: what the seed follows from.
    """

    backbone: Backbone
    task: DenseTask
    options: Options
    recipe: Recipe
    coding: Coding
    levels: tuple[Level, ...]
    compat: Mapping[str, str]
    case: Mapping[str, Any]

    @property
    def batch(self) -> int:
        """Pictures of a step."""
        return self.options.batch or self.recipe.batch

    @property
    def steps(self) -> int:
        """Of the training."""
        return self.options.steps or self.recipe.steps

    @property
    def frozen(self) -> bool:
        """Whether the network stands still."""
        return (self.options.encoder or self.task.encoder) == "frozen"

    @property
    def scales(self) -> tuple[int, ...]:
        """Shorter sides in pixels at which test pictures are shown."""
        several = self.task.multi and self.options.scales != "single"
        return self.recipe.short if several else (self.recipe.tested,)

    @property
    def momentum(self) -> float:
        """Of BatchNorm's statistics: the study's, or more in a training so short that they would keep much of their beginning."""
        return max(MOMENTUM, min(0.1, _FORGOTTEN / self.steps))

    @property
    def outside(self) -> int:
        """The label of padding."""
        return 0 if self.compat.get("normals-padding") == "class-0" else self.coding.none

    def network(self, seed: int) -> DenseNetwork:
        """A copy of the network behind a new head; what is not trained takes no gradients."""
        network = self.backbone.trainable()
        body = network.module.to(memory_format=torch.channels_last)
        dilated = not self.task.pyramid and self._strides_end_at(32.0) and dilate(body)
        for name, parameter in body.named_parameters():
            parameter.requires_grad_(name in self.trained)
        if not self.frozen:
            for norm in batch_norms(body):
                norm.momentum = self.momentum  # type: ignore[assignment]
        accept_any_size(network)
        width, classes = self.recipe.width, self.coding.classes
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would reseed the GPUs too.
            torch.default_generator.manual_seed(seed)
            if self.task.pyramid:
                levels = several_levels(self.levels, self.backbone.name, self.momentum)
                head: torch.nn.Module = UPerNetHead(levels.channels, classes, width=width, momentum=self.momentum)
            else:
                levels = last_level(self.levels, dilated=dilated)
                head = PPMHead(levels.channels[-1], classes, width=width, momentum=self.momentum)
        return DenseNetwork(
            network, levels, head, still=body.modules() if self.frozen else frozen_modules(body), frozen=self.frozen,
            bfloat16=self.options.precision == "bfloat16",
        )  # fmt: skip

    def _strides_end_at(self, stride: float) -> bool:
        return self.levels[-1].stride == (stride, stride)

    @cached_property
    def trained(self) -> set[str]:
        """Names of the network's parameters that are trained: none, or those that its maps depend on."""
        if self.frozen:
            return set()
        return behind_maps(self.backbone.trainable(), self.backbone.preprocessing.input_size, self.backbone.name)

    def learner(self, pictures: DensePictures, seed: int) -> DenseLearner:
        """A new network with its optimiser, and the pictures."""
        network = self.network(seed)
        own = [parameter for parameter in network.parameters() if parameter.requires_grad]
        groups, rate, decay = decay_groups(own), self.recipe.rate, self.recipe.decay
        if self.recipe.optimiser == "sgd":
            optimiser: torch.optim.Optimizer = torch.optim.SGD(
                groups, rate, momentum=0.9, weight_decay=decay, fused=True
            )
        else:
            optimiser = torch.optim.AdamW(groups, rate, weight_decay=decay, fused=True)
        return DenseLearner(
            network, optimiser, pictures, self.backbone.preprocessing, self.recipe, batch=self.batch, seed=seed,
            flips=self.task.flips, outside=self.outside,
        )  # fmt: skip

    def check_sizes(self, network: DenseNetwork, picture: tuple[int, int] | None) -> None:
        """Raise BackboneError where the network gives no maps of what it would be shown, or others than of its own size.

        picture: height and width of all pictures; None where they differ, then one that is wider than high is tried.
        """
        sides = resized(picture, self.recipe.tested, self.recipe.longest) if picture else None
        shape = padded(sides or (2 * network.divisor, 3 * network.divisor), network.divisor)
        name = self.backbone.name
        logits = tried(network.eval(), shape, self.backbone.device, name, self.task.name)
        if tuple(logits.shape[2:]) != network.grid(shape):
            rows, columns = network.grid(shape)
            raise BackboneError(
                f"{name}: of a picture of {shape[0]} x {shape[1]} pixels it gives a map of {logits.shape[2]} x "
                f"{logits.shape[3]}; by what it gives of its own size {rows} x {columns} were expected. Choose a network whose "
                "maps grow with the picture"
            )

    def schedule(self) -> Any:
        """From progress to the factor of the rate."""
        warmup = min(self.recipe.warmup, self.steps // 10)
        return partial(poly, steps=self.steps, power=self.recipe.power, warmup=warmup, lag=self.recipe.lag)

    def predictions(self, network: DenseNetwork, pictures: DensePictures, title: str) -> Iterator[tuple[int, Array]]:
        """The number of each picture and what is predicted of it at its full size; see `Coding.decode`.

        Of several scales the probabilities are averaged. Pictures are stretched to multiples of the network's divisor, so that
        there is no padding. Memory is that of one batch.
        """
        network.eval()
        originals, sizes = pictures.pictures.originals[0], pictures.sizes()
        batches = list(batches_alike(originals, _TEST_PIXELS))
        with tqdm(total=len(pictures), desc=title, unit="img", leave=False, disable=None) as bar:
            for places, coming in zip(batches, [*batches[1:], []], strict=True):
                taken = originals.take(places)
                originals.prefetch(coming)
                found = self._predicted(network, taken, sizes[places[0]])
                yield from zip(places, found, strict=True)
                bar.update(len(places))

    @torch.no_grad()
    def _predicted(self, network: DenseNetwork, pictures: Sequence[Tensor], size: tuple[int, int]) -> Array:
        still = torch.zeros(len(pictures), dtype=torch.bool)
        logits = []
        for short in self.scales:
            shape = padded(resized(size, short, self.recipe.longest), network.divisor)
            images = shown(pictures, [shape] * len(pictures), still, self.backbone.preprocessing, network.divisor)
            logits.append(network(images))
        rows = max(1, _TEST_VALUES // (len(pictures) * self.coding.classes * size[1]))
        bands = []
        for start in range(0, size[0], rows):
            stop = min(size[0], start + rows)
            probabilities = torch.zeros((), device=logits[0].device)
            for each in logits:
                probabilities = probabilities + rows_enlarged(each, size, start, stop).softmax(dim=1)
            bands.append(self.coding.decode(probabilities / len(logits)))
        return np.concatenate(bands, axis=1)


def train_dense(
    hyperparameters: Mapping[str, Any],
    folder: Path | None,
    *,
    setting: Setting,
    pictures: DensePictures,
    bar: GridBar,
) -> TrialResult:
    """Trained once: what training changed, and the mean loss at its end."""
    bar.begin("")
    # What a recipe consists of is no other draw.
    drawn_by = {name: value for name, value in hyperparameters.items() if name != "details"}
    seed = seed_of(setting.case, setting.task.name, drawn_by)
    every = -(-setting.steps // _MOST_GROUPS)
    learner, log, curve = trained(
        partial(setting.learner, pictures, seed), Plan(setting.steps, CHECKPOINT_STEPS * every, seed, reseed_every=every),
        schedule=setting.schedule(), begun_with=hyperparameters, folder=folder, device=setting.backbone.device,
        save_seconds=CHECKPOINT_SECONDS, bar=bar,
    )  # fmt: skip
    weights = {name: value.detach().cpu() for name, value in learner.model.learned().items()}
    return TrialResult({"loss": _last(log), "curve": curve}, weights)


def _last(log: Sequence[Mapping[str, Any]]) -> float:
    """Of the last tenth of the steps."""
    few = log[-max(1, len(log) // 10) :]
    return float(np.mean([line["loss"] for line in few]))


def restored(setting: Setting, tensors: Mapping[str, Tensor]) -> DenseNetwork:
    """The network with what was trained. Raises TrainingError for others than it trains."""
    network = setting.network(0)
    own = network.learned()
    shapes = [{name: tuple(value.shape) for name, value in each.items()} for each in (own, tensors)]
    if shapes[0] != shapes[1]:
        raise TrainingError(
            "the kept weights are of another network or head; remove the trial (sslbench cache prune) and run again"
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(tensors[name])
    return network
