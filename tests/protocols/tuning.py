"""A small network and sets for fine-tuning in tests: trainings of a second."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sslbench.backbones import Backbone
from sslbench.backbones.options import Options as NameOptions
from sslbench.backbones.python_source import wrap
from sslbench.config import Settings
from sslbench.datasets import Dataset, DatasetSpec, ImageArray, Labels, LabelSets, Split
from sslbench.datasets.registry import register_dataset
from sslbench.features.originals import open_originals
from sslbench.features.pictures import Pictures
from sslbench.metrics import METRICS
from sslbench.protocols._finetune_options import Options
from sslbench.protocols._finetune_training import Setting
from sslbench.protocols.base import Part
from sslbench.results.record import Record
from sslbench.results.runs import Run
from sslbench.runner import Case, Runner
from sslbench.tasks import Task
from sslbench.training.progress import GridBar
from sslbench.training.trial_result import TrialResult

SIZE = 16
LONG = "recipe=quick+steps=15+batch=16"


class Small(nn.Module):
    """Three convolutions with BatchNorm, or without."""

    input_size = SIZE

    def __init__(self, *, norm: bool = True) -> None:
        super().__init__()
        torch.manual_seed(3)
        widths = (3, 8, 8, 12)
        for number in range(3):
            layers: list[nn.Module] = [nn.Conv2d(widths[number], widths[number + 1], 3, stride=2, padding=1)]
            layers += [nn.BatchNorm2d(widths[number + 1])] if norm else []
            setattr(self, f"layer{number + 1}", nn.Sequential(*layers, nn.ReLU()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer3(self.layer2(self.layer1(images))).mean(dim=(2, 3))  # type: ignore[no-any-return]


def backbone(network: nn.Module | None = None, name: str = "small") -> Backbone:
    return wrap(name, network or Small(), NameOptions(name, {}), recipe="test")


def pictures(
    name: str, count: int, classes: int, seed: int, *, several: bool = False, size: int = SIZE
) -> tuple[ImageArray, Labels | LabelSets]:
    """Colours with noise, which a step or two tell apart; `several` has a second label besides."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % classes
    palette = np.random.default_rng(99).integers(40, 216, size=(classes, 3))
    pixels = palette[labels][:, None, None] + rng.integers(-40, 40, size=(count, size, size, 3))
    targets: Labels | LabelSets = Labels(labels)
    if several:
        sets = np.zeros((count, classes), dtype=np.int8)
        sets[np.arange(count), labels] = 1
        sets[::3, 0] = -1
        targets = LabelSets(sets)
    return ImageArray(f"{name}-{seed}-{count}-{classes}", pixels.astype(np.uint8)), targets


class Sets:
    """A registered dataset whose splits a test may change."""

    def __init__(self, name: str = "tuned", *, classes: int = 4, several: bool = False) -> None:
        self.name, self.classes, self.several = name, classes, several
        self.sizes = {"train": 40, "val": 20, "test": 40}
        self.labels: dict[str, np.ndarray] = {}
        register_dataset(
            DatasetSpec(
                name, self.load, classes, "colours", "own", "made here", targets=LabelSets if several else Labels
            )
        )

    def load(self, settings: Settings) -> Dataset:
        splits = {}
        for seed, (split, count) in enumerate(self.sizes.items()):
            images, targets = pictures(self.name, count, self.classes, seed, several=self.several)
            if split in self.labels:
                targets = Labels(self.labels[split])
            splits[split] = Split(split, images, targets)
        metric = "voc_map11" if self.several else "top1"
        return Dataset(self.name, tuple(map(str, range(self.classes))), splits, metric)


def run(
    folder: Path,
    variant: str = "recipe=quick+steps=6+batch=16",
    *,
    dataset: str = "tuned",
    network: Backbone | None = None,
    compat: Mapping[str, str] | None = None,
    results: Run | None = None,
    **settings: Any,
) -> Record:
    """One fine-tuning case; its caches below `folder`."""
    own = network or backbone()
    runner = Runner(Settings(cache_dir=folder, compat=compat or {}, device="cpu", **settings), results)
    runner.add_backbone(own)
    return runner.prepare(Case(own.name, Task("finetune", dataset, variant))).execute()


DEFAULTS = {"finetune-weight-decay": "over-rate", "finetune-decayed": "all", "finetune-last-batch": "keep"}


def silent() -> GridBar:
    return GridBar(lambda steps: None, lambda text: None, 1)


def part(count: int, *, classes: int = 4, several: bool = False, size: int = SIZE) -> Part:
    images, targets = pictures("part", count, classes, 5, several=several, size=size)
    return Part(
        images, targets, features=None, unreadable=lambda rows: None, shown=None, maps=None,
        originals=lambda side: open_originals(
            images, side, extraction="exact", pictures=Pictures(Path("unused"), 0), device="cpu"
        ),
    )  # type: ignore[arg-type]  # fmt: skip


def setting(options: str = "", *, network: nn.Module | None = None, batch: int = 16, **switches: str) -> Setting:
    parsed = Options.parse(options)
    assert parsed is not None
    return Setting(backbone(network), parsed, 4, METRICS["top1"], batch, {**DEFAULTS, **switches}, {"case": "test"})


def trial(value: float | None, at: int | None = None) -> TrialResult:
    values = None if value is None else {"val_score": value}
    return TrialResult(values, {"val_decision": torch.zeros(1)}, at)


if __name__ == "__main__":
    # For a test that kills this process: stops for good in the middle of the third training, and says so.
    from sslbench.protocols import _finetune_training

    begun, draw = [], _finetune_training.Learner.batch

    def stop(self: Any, step: Any) -> Any:
        begun.append(step.number)
        if begun.count(0) == 3 and step.number == 13:
            print("ready", flush=True)
            sys.stdin.read()
        return draw(self, step)

    _finetune_training.CHECKPOINT_SECONDS = 0.0
    _finetune_training.Learner.batch = stop  # type: ignore[method-assign]
    Sets()
    run(Path(sys.argv[1]), LONG)
