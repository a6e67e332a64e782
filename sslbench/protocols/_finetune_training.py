"""One training of a fine-tuning grid: pictures drawn and augmented on the device, the loss, and the scores on val."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.errors import DivergedError
from sslbench.features.joined import JoinedOriginals
from sslbench.metrics import MetricSpec
from sslbench.protocols._finetune_network import TunedNetwork
from sslbench.protocols._finetune_options import Options
from sslbench.protocols._training_run import trained
from sslbench.protocols.base import Part, label_values
from sslbench.training.crops import FILTERS, draw_boxes, resized_crops
from sslbench.training.curves import Curve
from sslbench.training.loop import Plan, Step
from sslbench.training.progress import GridBar
from sslbench.training.schedules import cosine, warmup_cosine
from sslbench.training.seeds import seed_of
from sslbench.training.transfer import sent
from sslbench.training.trial_result import TrialResult

if TYPE_CHECKING:
    from sslbench.backbones import Backbone, Preprocessing

# Of the shorter side of a picture that is kept for training, by the side that the network sees: 512 pixels at 224. A crop of
# 8 % of a square picture of 512 has 145 pixels on a side, so that most are enlarged even from what is kept.
KEPT = 16 / 7
# The loss is looked at this often, which waits for a GPU; the state is kept when so long has passed since the last time.
CHECKPOINT_STEPS, CHECKPOINT_SECONDS = 10, 30.0


def kept_side(preprocessing: Preprocessing) -> int:
    """The longest that the shorter side of a kept picture is."""
    return math.ceil(KEPT * max(preprocessing.input_size))


@dataclass(frozen=True)
class TrainingSet:
    """Pictures with labels. targets: int64 (N,), or int8 (N, K) of 1, 0 and -1, of the pictures in their order."""

    pictures: JoinedOriginals
    targets: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.pictures)

    def __add__(self, other: TrainingSet) -> TrainingSet:
        return TrainingSet(self.pictures + other.pictures, np.concatenate([self.targets, other.targets]))


def training_set(part: Part, rows: npt.NDArray[np.int64], side: int) -> TrainingSet:
    """The pictures of some rows of a split that could be read, reduced to a shorter side of `side` where they are larger."""
    originals = part.originals(side)
    place = {int(row): number for number, row in enumerate(originals.rows)}
    kept = [int(row) for row in rows if int(row) in place]
    return TrainingSet(
        JoinedOriginals([originals], [(0, place[row]) for row in kept]), label_values(part.targets)[kept]
    )


class Learner:
    """Batches in shuffled passes over the pictures, each a random crop that may be mirrored.

    The loss is the cross-entropy, or where pictures have several labels the binary cross-entropy. seed: of order, crops and
    flips, each step's and each pass's by its number alone.
    """

    def __init__(
        self, network: TunedNetwork, optimiser: torch.optim.Optimizer, pictures: TrainingSet, preprocessing: Preprocessing, *,
        batch: int, drop_last: bool, seed: int, bfloat16: bool,
    ) -> None:  # fmt: skip
        self.model, self.optimiser = network, optimiser
        self._pictures, self._preprocessing = pictures.pictures, preprocessing
        self._batch, self._drop_last, self._seed, self._bfloat16 = batch, drop_last, seed, bfloat16
        self._device = next(network.parameters()).device
        self._targets = torch.from_numpy(pictures.targets).to(self._device)
        self._draws = torch.Generator()
        self._pass, self._order = -1, torch.empty(0, dtype=torch.int64)

    def batch(self, step: Step) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, H, W), normalised, and their targets; the last batch of a pass may be short."""
        items = self._items(step.number)
        pictures = self._pictures.take(items)
        self._pictures.prefetch(self._items(step.number + 1))
        self._draws.manual_seed(seed_of(self._seed, "step", step.number))
        sizes = torch.tensor([picture.shape[1:] for picture in pictures])
        boxes = draw_boxes(sizes, self._draws)
        flips = torch.rand(len(items), generator=self._draws) < 0.5
        shown = self._preprocessing
        filtered = shown.interpolation if shown.interpolation in FILTERS else "bicubic"
        images = resized_crops(
            pictures, boxes, flips, shown.input_size,
            interpolation=filtered, mean=shown.mean, std=shown.std, bgr=shown.bgr,
        )  # fmt: skip
        return images, self._targets[sent(torch.tensor(items), self._device)]

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The mean over the batch; where a class is ignored in a picture, over what is left."""
        images, targets = batch
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            logits = self.model(images)
        logits = logits.float()
        if targets.ndim == 1:
            return F.cross_entropy(logits, targets)
        judged = (targets >= 0).float()
        losses = F.binary_cross_entropy_with_logits(logits, (targets == 1).float(), reduction="none")
        # Nothing may be judged: in a short last batch, or in a part of one.
        return (losses * judged).sum() / judged.sum().clamp(min=1)

    def divide(self, batch: tuple[Tensor, Tensor], parts: int) -> list[tuple[float, tuple[Tensor, Tensor]]] | None:
        """Parts of the batch, for `sslbench.training.loop.Divisible`."""
        images, targets = batch
        weights = torch.ones(len(targets)) if targets.ndim == 1 else (targets >= 0).sum(dim=1).float().cpu()
        if parts > len(targets) or self.model.whole_batch:
            return None
        cuts = zip(images.tensor_split(parts), targets.tensor_split(parts), weights.tensor_split(parts), strict=True)
        return [(float(weight.sum() / weights.sum()), (some, theirs)) for some, theirs, weight in cuts]

    def _items(self, number: int) -> list[int]:
        whole, rest = divmod(len(self._pictures), self._batch)
        batches = max(1, whole + (rest > 0 and not self._drop_last))
        turn, place = divmod(number, batches)
        if turn != self._pass:
            generator = torch.Generator().manual_seed(seed_of(self._seed, "pass", turn))
            self._pass, self._order = turn, torch.randperm(len(self._pictures), generator=generator)
        return self._order[place * self._batch : (place + 1) * self._batch].tolist()


@dataclass(frozen=True)
class Setting:
    """What all trainings of a case share.

    batch: of a training. switches: the compat choices. case: what its seeds follow from, beside hyperparameters.
    """

    backbone: Backbone
    options: Options
    classes: int
    metric: MetricSpec
    batch: int
    switches: Mapping[str, str]
    case: Mapping[str, Any]

    def network(self, seed: int) -> TunedNetwork:
        """The backbone behind a new classifier."""
        return TunedNetwork(self.backbone, self.classes, last=self.options.last, seed=seed)

    def trained(
        self, pictures: TrainingSet, hyperparameters: Mapping[str, Any], stage: str, folder: Path | None, bar: GridBar
    ) -> tuple[TunedNetwork, Curve]:
        """A network trained with `rate`, `decay`, `steps` and `seed`, and its learning curve. Raises DivergedError."""
        steps = hyperparameters["steps"]
        bar.begin(f"{stage}, rate {hyperparameters['rate']:g}, decay {hyperparameters['decay']:g}")
        way, seed = self.options.way, seed_of(self.case, stage, hyperparameters)
        learner, _, curve = trained(
            partial(self.learner, pictures, hyperparameters, seed), Plan(steps, min(CHECKPOINT_STEPS, steps), seed),
            schedule=partial(warmup_cosine, warmup=way.warmup) if way.warmup else cosine,
            begun_with={**hyperparameters, "stage": stage}, folder=folder, device=self.backbone.device,
            save_seconds=CHECKPOINT_SECONDS, bar=bar,
        )  # fmt: skip
        return learner.model, curve

    def learner(self, pictures: TrainingSet, hyperparameters: Mapping[str, Any], seed: int) -> Learner:
        """A new network with its optimiser, at `rate` and `decay`, and the pictures."""
        way, rate, decay = self.options.way, hyperparameters["rate"], hyperparameters["decay"]
        network = self.network(seed)
        # Fused: one pass over the weights instead of several.
        if way.optimiser == "sgd":
            passed = decay / rate if self.switches["finetune-weight-decay"] == "over-rate" else decay
            groups = network.groups(way, rate, passed, decayed=self.switches["finetune-decayed"])
            optimiser: torch.optim.Optimizer = torch.optim.SGD(groups, rate, momentum=0.9, nesterov=True, fused=True)
        else:
            groups = network.groups(way, rate, decay, decayed="weights")
            optimiser = torch.optim.AdamW(groups, rate, fused=True)
        return Learner(
            network, optimiser, pictures, self.backbone.preprocessing, batch=self.batch, seed=seed,
            drop_last=self.switches["finetune-last-batch"] == "drop", bfloat16=self.options.precision == "bfloat16",
        )  # fmt: skip

    def decide(
        self, network: nn.Module, part: Part, rows: npt.NDArray[np.int64] | None = None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
        """Logits float64 (N, K) of centre crops, and the targets, of the rows of a split that could be read."""
        decisions, kept = [], []
        for shown, images in self._shown(part, rows):
            with (
                torch.no_grad(),
                torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self.options.precision == "bfloat16"),
            ):
                logits = network.eval()(images)
            decisions.append(logits.double().cpu().numpy())
            kept += shown
        return np.concatenate(decisions), label_values(part.targets)[kept]

    def _shown(self, part: Part, rows: npt.NDArray[np.int64] | None) -> Iterator[tuple[list[int], Tensor]]:
        wanted = None if rows is None else set(rows.tolist())
        device = self.backbone.device
        for batch in part.shown():
            chosen = [place for place, row in enumerate(batch.rows) if wanted is None or row in wanted]
            if chosen:
                pixels = batch.readable[torch.tensor(chosen)].to(device)
                images = self.backbone.preprocessing.normalise(pixels).contiguous(memory_format=torch.channels_last)
                yield [batch.rows[place] for place in chosen], images


def search_trial(
    hyperparameters: Mapping[str, Any], folder: Path | None, *, setting: Setting, pictures: TrainingSet, val: Part,
    rows: npt.NDArray[np.int64], bar: GridBar,
) -> TrialResult:  # fmt: skip
    """Trained on train: the score on val in `val_score`, the learning curve in `curve`, and what it decided on val."""
    network, curve = setting.trained(pictures, hyperparameters, "search", folder, bar)
    decision, targets = setting.decide(network, val, rows)
    _finite(decision, hyperparameters)
    score = setting.metric.select(decision, targets).value
    # The targets too: a picture that is too long for the network's size may be left out here alone.
    tensors = {"val_decision": torch.from_numpy(decision.astype(np.float32)), "val_targets": torch.from_numpy(targets)}
    return TrialResult({"val_score": score, "curve": curve}, tensors)


def last_trial(
    hyperparameters: Mapping[str, Any], folder: Path | None, *, setting: Setting, pictures: TrainingSet, bar: GridBar
) -> TrialResult:
    """Trained on train and val: the weights, and the learning curve in `curve`."""
    network, curve = setting.trained(pictures, hyperparameters, "last", folder, bar)
    return TrialResult({"curve": curve}, network.state_dict())


def _finite(decision: npt.NDArray[np.float64], hyperparameters: Mapping[str, Any]) -> None:
    # Weights may be finite and BatchNorm's statistics, or what is computed of them, not.
    if not np.isfinite(decision).all():
        raise DivergedError("what the network decides is not finite; lower the learning rate", hyperparameters["steps"])
