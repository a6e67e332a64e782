"""Small pictures with coloured rectangles to be found, and detectors that train on them in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sslbench.backbones import Backbone
from sslbench.backbones.module_network import ModuleNetwork
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.config import Settings
from sslbench.datasets import Boxes, Dataset, DatasetSpec, ImageArray, Images, Objects, Split, register_dataset
from sslbench.results.record import Record
from sslbench.results.runs import Run
from sslbench.runner import Case, Runner
from sslbench.tasks import Task

SIZE = 64
COLOURS = ((230, 40, 40), (40, 230, 40), (40, 40, 230))
QUICK = "frozen+recipe=small+steps=6+batch=4"


class Stages(nn.Module):
    """Four stages with BatchNorm, strides 4 to 32, as a torchvision ResNet calls them."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.BatchNorm2d(width), nn.ReLU())
        self.layer1 = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        for number in (2, 3, 4):
            stage = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
            setattr(self, f"layer{number}", stage)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for stage in (self.stem, self.layer1, self.layer2, self.layer3, self.layer4):
            images = stage(images)
        return images.mean(dim=(2, 3))


def backbone(module: nn.Module | None = None, name: str = "stages") -> Backbone:
    torch.manual_seed(0)
    shown = Preprocessing(input_size=(SIZE, SIZE), resize=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Backbone(name, ModuleNetwork(module or Stages()), shown, f"test:{name}")


def scenes(count: int, seed: int, *, most: int = 3) -> tuple[np.ndarray, list[Objects]]:
    """Grey noise with up to `most` rectangles, the class of each its colour."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(90, 150, (count, SIZE, SIZE, 3)).astype(np.uint8)
    objects = []
    for picture in pixels:
        number = int(generator.integers(0 if most > 1 else 1, most + 1))
        labels, boxes = generator.integers(0, len(COLOURS), number), []
        for label in labels:
            (x, y), (wide, high) = generator.integers(0, 36, 2), generator.integers(12, 28, 2)
            picture[y : y + high, x : x + wide] = COLOURS[label]
            boxes.append([x, y, x + wide, y + high])
        array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
        objects.append(Objects(array, labels.astype(np.int64), generator.random(number) < 0.1))
    return pixels, objects


@dataclass
class Sets:
    """A dataset `boxed`; whoever needs others puts them in before it is loaded."""

    sizes: Mapping[str, int] = field(default_factory=lambda: {"train": 10, "val": 4, "test": 6})
    name: str = "boxed"
    images: dict[str, Images] = field(default_factory=dict)
    objects: dict[str, list[Objects]] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)
    most: int = 3

    def __post_init__(self) -> None:
        register_dataset(
            DatasetSpec(self.name, self.load, 3, "rectangles", "own", "made here", metric=None, targets=Boxes)
        )

    def load(self, settings: Settings) -> Dataset:
        splits = {}
        for seed, (split, count) in enumerate(self.sizes.items()):
            pixels, objects = scenes(count, seed, most=self.most)
            images = self.images.get(split) or ImageArray(f"{self.name}:{split}:{count}", pixels)
            splits[split] = Split(split, images, Boxes(self.objects.get(split) or objects))
        return Dataset(self.name, ("red", "green", "blue"), splits, None, recipes=self.recipes)


def run(
    folder: Path,
    variant: str = QUICK,
    *,
    dataset: str = "boxed",
    network: Backbone | None = None,
    results: Run | None = None,
    **settings: Any,
) -> Record:
    """One detection case; its caches below `folder`."""
    own = network or backbone()
    runner = Runner(Settings(cache_dir=folder, device="cpu", **settings), results)
    runner.add_backbone(own)
    return runner.prepare(Case(own.name, Task("detection", dataset, variant))).execute()
