"""One training of a detector, and what it finds afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sslbench.errors import TrainingError
from sslbench.features.originals import Originals
from sslbench.heads.detector import Detector
from sslbench.heads.faster_rcnn import Wanted
from sslbench.metrics.detection import Detections
from sslbench.protocols._detection_options import Options, Recipe
from sslbench.protocols._detection_pictures import Sizes, Stream, TrainingPictures, batches_by_shape, boxes_shown, shown
from sslbench.protocols._network_parts import (
    accept_any_size,
    batch_norms,
    behind_maps,
    decay_groups,
    frozen_modules,
    groups,
    last_groups,
    tried,
)
from sslbench.protocols._training_run import trained
from sslbench.training.loop import Plan, Step
from sslbench.training.progress import GridBar
from sslbench.training.schedules import warmup_drops
from sslbench.training.seeds import seed_of
from sslbench.training.transfer import sent
from sslbench.training.trial_result import TrialResult

if TYPE_CHECKING:
    from torch import nn

    from sslbench.backbones import Backbone, Preprocessing
    from sslbench.backbones.backbone import Level

CHECKPOINT_STEPS, CHECKPOINT_SECONDS = 10, 30.0
# The loop draws its seeds for fewer groups of steps than this.
_MOST_GROUPS = 100_000
# Of a batch of test pictures: one of the study's size, or many small ones.
_TEST_PIXELS = 1 << 20
# Of a plain transformer, whose blocks are many and of one kind, what counts as its last stage: a quarter of the blocks.
_LAST_PART = 4

Batch = tuple[Tensor, list[tuple[int, int]], Wanted]


class DetectionLearner:
    """Batches of pictures, resized at random and mirrored half of the time, with the objects on them.

    The loss is the sum of the four of Faster R-CNN. seed: of order, sizes and flips, each step's by its number alone; which
    anchors and regions are sampled is drawn from torch's generator, which the loop seeds.
    """

    def __init__(
        self, detector: Detector, optimiser: torch.optim.Optimizer, pictures: TrainingPictures, preprocessing: Preprocessing,
        sizes: Sizes, *, batch: int, seed: int,
    ) -> None:  # fmt: skip
        self.model, self.optimiser = detector, optimiser
        self._pictures, self._preprocessing, self._sizes, self._seed = pictures, preprocessing, sizes, seed
        self._device = next(detector.parameters()).device
        kept = pictures.sizes()
        self._kept: list[tuple[int, int]] = [(high, wide) for high, wide in kept.tolist()]
        self._stream = Stream(kept, batch, seed)
        # A second one looks ahead, so that neither has to go back.
        self._next = Stream(kept, batch, seed)
        self._draws = torch.Generator()

    def batch(self, step: Step) -> Batch:
        """Normalised pictures (B, 3, H, W), the height and width of each without padding, and its objects."""
        items = self._stream.batch(step.number)
        pictures = self._pictures.pictures.take(items)
        self._pictures.pictures.prefetch(self._next.batch(step.number + 1))
        self._draws.manual_seed(seed_of(self._seed, "step", step.number))
        chosen = torch.randint(len(self._sizes.short), (len(items),), generator=self._draws).tolist()
        flips = torch.rand(len(items), generator=self._draws) < 0.5
        shapes = [
            self._sizes.shape(self._kept[item], self._sizes.short[size])
            for item, size in zip(items, chosen, strict=True)
        ]
        images = shown(pictures, shapes, flips, self._preprocessing, self.model.pyramid.divisor)
        boxes = [
            boxes_shown(self._pictures.boxes[item], shape, flipped=flip)
            for item, shape, flip in zip(items, shapes, flips.tolist(), strict=True)
        ]
        # One copy to the device for all pictures of the batch.
        counts = [len(own) for own in boxes]
        there = torch.split(sent(torch.cat(boxes), self._device), counts)
        every = torch.cat([self._pictures.labels[item] for item in items])
        labels = torch.split(sent(every, self._device), counts)
        return images, shapes, [{"boxes": box, "labels": label} for box, label in zip(there, labels, strict=True)]

    def loss(self, batch: Batch) -> Tensor:
        """Objectness and boxes of the proposals, classes and boxes of the regions."""
        return torch.stack(list(self.model.losses(*batch).values())).sum()

    def divide(self, batch: Batch, parts: int) -> list[tuple[float, Batch]] | None:
        """Parts of the batch, for `sslbench.training.loop.Divisible`.

        Each counts by its pictures: their share of the losses, as long as every picture has as many anchors and regions as are
        sampled of one.
        """
        images, shapes, truth = batch
        if parts > len(shapes):
            return None
        found, start = [], 0
        for some in images.tensor_split(parts):
            stop = start + len(some)
            found.append((len(some) / len(shapes), (some, shapes[start:stop], truth[start:stop])))
            start = stop
        return found


@dataclass(frozen=True)
class Setting:
    """What the training of a case and its test share. levels: of the maps. case: what the seed follows from."""

    backbone: Backbone
    options: Options
    recipe: Recipe
    levels: tuple[Level, ...]
    classes: int
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
    def sizes(self) -> Sizes:
        """Of pictures."""
        return Sizes.of(self.recipe, self.options.size)

    def detector(self, seed: int) -> Detector:
        """A copy of the network behind new heads; what is not trained takes no gradients."""
        network = self.backbone.trainable()
        body = network.module.to(memory_format=torch.channels_last)
        trained = self.trained
        norms = batch_norms(body)
        still = {id(parameter) for norm in norms for parameter in norm.parameters()}
        for name, parameter in body.named_parameters():
            parameter.requires_grad_(name in trained and id(parameter) not in still)
        accept_any_size(network)
        return Detector(
            network, self.levels, self.classes, self.recipe.heads(), name=self.backbone.name,
            still=[*frozen_modules(body), *norms], seed=seed, bfloat16=self.options.precision == "bfloat16",
        )  # fmt: skip

    @cached_property
    def trained(self) -> set[str]:
        """Names of the network's parameters that the setting trains: those that the maps depend on, or the last stage of them.

        BatchNorm's are among them, though they stand still.
        """
        network = self.backbone.trainable()
        used = behind_maps(network, self.backbone.preprocessing.input_size, self.backbone.name)
        if self.options.setting == "finetune":
            return used
        count = 1
        if len({level.stride for level in self.levels}) == 1:
            count = max(1, (len(groups(network.module, used)) - 1) // _LAST_PART)
        found = last_groups(network.module, count, self.backbone.name, used)
        return {name for group in found for name in group}

    def learner(self, pictures: TrainingPictures, seed: int) -> DetectionLearner:
        """A new detector with its optimiser, and the pictures."""
        detector = self.detector(seed)
        own = [parameter for parameter in detector.parameters() if parameter.requires_grad]
        rate, decay = self.recipe.rate, self.recipe.decay
        if self.recipe.optimiser == "sgd":
            # Decay on biases too, as in detectron2.
            optimiser: torch.optim.Optimizer = torch.optim.SGD(own, rate, momentum=0.9, weight_decay=decay, fused=True)
        else:
            optimiser = torch.optim.AdamW(decay_groups(own), rate, weight_decay=decay, fused=True)
        return DetectionLearner(
            detector, optimiser, pictures, self.backbone.preprocessing, self.sizes, batch=self.batch, seed=seed
        )

    def check_sizes(self, detector: Detector, picture: tuple[int, int] | None) -> None:
        """Raise BackboneError where the network gives no maps of what it would be shown.

        picture: height and width of all pictures; None where they differ, then one that is wider than high is tried.
        """
        divisor = detector.pyramid.divisor
        sides = self.sizes.shape(picture, self.sizes.short[-1]) if picture else (2 * divisor, 3 * divisor)
        shape = (-(-sides[0] // divisor) * divisor, -(-sides[1] // divisor) * divisor)
        detector.eval()
        tried(
            lambda image: detector.detections(image, [shape]),
            shape,
            self.backbone.device,
            self.backbone.name,
            "detection",
        )

    def schedule(self) -> Any:
        """From progress to the factor of the rate."""
        drops = [round(part * self.steps) for part in self.recipe.drops]
        warmup = min(self.recipe.warmup, self.steps)
        return partial(warmup_drops, steps=self.steps, warmup=warmup, first=self.recipe.first, drops=drops)

    def detect(self, detector: nn.Module, originals: Originals, title: str) -> Detections:
        """What a detector finds on pictures, in pixels of each at its full size; image counts the places of `originals`."""
        assert isinstance(detector, Detector)
        detector.eval()
        image, boxes, labels, scores = [], [], [], []
        with torch.no_grad(), tqdm(total=len(originals), desc=title, unit="img", leave=False, disable=None) as bar:
            batches = list(batches_by_shape(originals, self.sizes, _TEST_PIXELS))
            for (places, shape), (coming, _) in zip(batches, [*batches[1:], ([], None)], strict=True):
                still = torch.zeros(len(places), dtype=torch.bool)
                pictures = originals.take(places)
                originals.prefetch(coming)
                images = shown(
                    pictures, [shape] * len(places), still, self.backbone.preprocessing,
                    detector.pyramid.divisor,
                )  # fmt: skip
                for place, found in zip(places, detector.detections(images, [shape] * len(places)), strict=True):
                    high, wide = originals.full_sizes[place].tolist()
                    scaled = found["boxes"].cpu() * torch.tensor([wide / shape[1], high / shape[0]] * 2)
                    image.append(np.full(len(scaled), place, dtype=np.int64))
                    boxes.append(scaled.numpy())
                    labels.append(found["labels"].cpu().numpy() - 1)
                    scores.append(found["scores"].cpu().numpy())
                bar.update(len(places))
        return Detections(*(np.concatenate(parts) for parts in (image, boxes, labels, scores)))


def train_detector(
    hyperparameters: Mapping[str, Any],
    folder: Path | None,
    *,
    setting: Setting,
    pictures: TrainingPictures,
    bar: GridBar,
) -> TrialResult:
    """Trained once: the weights that training changed, and the mean loss at its end."""
    bar.begin("")
    # What a recipe consists of is no other draw.
    drawn_by = {name: value for name, value in hyperparameters.items() if name != "details"}
    seed = seed_of(setting.case, "detector", drawn_by)
    every = -(-setting.steps // _MOST_GROUPS)
    learner, log, curve = trained(
        partial(setting.learner, pictures, seed), Plan(setting.steps, CHECKPOINT_STEPS * every, seed, reseed_every=every),
        schedule=setting.schedule(), begun_with=hyperparameters, folder=folder, device=setting.backbone.device,
        save_seconds=CHECKPOINT_SECONDS, bar=bar,
    )  # fmt: skip
    weights = {name: value.detach().cpu() for name, value in learner.model.named_parameters() if value.requires_grad}
    return TrialResult({"loss": _last(log), "curve": curve}, weights)


def _last(log: Sequence[Mapping[str, Any]]) -> float:
    """Of the last tenth of the steps."""
    few = log[-max(1, len(log) // 10) :]
    return float(np.mean([line["loss"] for line in few]))


def restored(setting: Setting, tensors: Mapping[str, Tensor]) -> Detector:
    """The detector with its trained weights. Raises TrainingError for others than it trains."""
    detector = setting.detector(0)
    own = {name: value for name, value in detector.named_parameters() if value.requires_grad}
    shapes = [{name: tuple(value.shape) for name, value in each.items()} for each in (own, tensors)]
    if shapes[0] != shapes[1]:
        raise TrainingError(
            "the kept weights are of another detector; remove the trial (sslbench cache prune) and run again"
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(tensors[name])
    return detector
