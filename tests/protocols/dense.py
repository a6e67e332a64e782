"""Small pictures with coloured rectangles on grey, class and normal of each pixel, and heads that train on them quickly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sslbench.backbones import Backbone
from sslbench.config import Settings
from sslbench.datasets import Dataset, DatasetSpec, ImageArray, Images, Masks, Normals, Split, Targets, register_dataset
from sslbench.features.originals import open_originals
from sslbench.features.pictures import Pictures
from sslbench.protocols._codewords import clustered
from sslbench.protocols._dense_coding import Classes, Codewords, Coding
from sslbench.protocols._dense_options import NORMALS, SEGMENTATION, DenseTask, Recipe
from sslbench.protocols._dense_pictures import DensePictures, pictures_of
from sslbench.protocols._dense_training import Setting
from sslbench.protocols.base import Part
from sslbench.results.record import Record
from sslbench.results.runs import Run
from sslbench.runner import Case, Runner
from sslbench.tasks import Task
from tests.protocols.detecting import COLOURS, backbone, scenes

CLASSES = ("background", "red", "green", "blue")
IGNORE = 200
QUICK = "recipe=small+steps=6+batch=4"
# Of background and colours; the background has none.
DIRECTIONS = np.array([[0, 0, 0], [0.6, 0, 0.8], [-0.6, 0, 0.8], [0, 0.6, 0.8]], np.float32)


def masks_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W) of 0 for grey and 1 to 3 for the colours."""
    found = np.zeros(pixels.shape[:3], np.uint8)
    for number, colour in enumerate(COLOURS, 1):
        found[(pixels == colour).all(axis=3)] = number
    return found


def targets_of(kind: type[Targets], masks: NDArray[np.uint8], name: str, codewords: Any = None) -> Targets:
    rows = np.arange(len(masks))
    if kind is Masks:
        return Masks(lambda row: masks[row], name, rows, ignore=IGNORE)
    return Normals(lambda row: DIRECTIONS[masks[row]], name, rows)


def part(images: Images, targets: Targets) -> Part:
    return Part(
        images, targets, features=None, unreadable=lambda rows: None, shown=None, maps=None,
        originals=lambda side: open_originals(
            images, side, extraction="exact", pictures=Pictures(Path("unused"), 0), device="cpu"
        ),
    )  # type: ignore[arg-type]  # fmt: skip


def coding_of(task: DenseTask) -> Coding:
    return Classes(len(CLASSES)) if task is SEGMENTATION else Codewords(clustered(DIRECTIONS[1:], 40), "made here")


def pictures(task: DenseTask = SEGMENTATION, count: int = 16) -> DensePictures:
    pixels, _ = scenes(count, 3)
    kind = Masks if task is SEGMENTATION else Normals
    own = part(ImageArray(f"scenes:{count}", pixels), targets_of(kind, masks_of(pixels), "scenes"))
    return pictures_of({"train": own}, 64, coding_of(task))


def setting(
    task: DenseTask = SEGMENTATION, variant: str = "recipe=small+steps=6+batch=4", *, network: Backbone | None = None,
    recipe: Recipe | None = None, **compat: str,
) -> Setting:  # fmt: skip
    options, own = task.options(variant), network or backbone()
    assert options is not None
    chosen = (recipe or task.recipes[options.recipe or "study"]).sized(options.size)
    switches = {name.replace("_", "-"): choice for name, choice in compat.items()}
    return Setting(own, task, options, chosen, coding_of(task), own.levels(), switches, {"case": "test"})


@dataclass
class Sets:
    """The datasets `masked` and `facing`; whoever needs others puts them in before they are loaded."""

    sizes: Mapping[str, int] = field(default_factory=lambda: {"train": 10, "val": 4, "test": 7})
    images: dict[str, Images] = field(default_factory=dict)
    targets: dict[str, Targets] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind, count in (("masked", Masks, len(CLASSES)), ("facing", Normals, 0)):
            load = partial(self.load, name, kind)
            spec = DatasetSpec(name, load, count, "rectangles", "own", "made here", metric=None, targets=kind)
            register_dataset(spec)

    def load(self, name: str, kind: type[Targets], settings: Settings) -> Dataset:
        splits = {}
        for seed, (split, count) in enumerate(self.sizes.items()):
            pixels, _ = scenes(count, seed)
            images = self.images.get(split) or ImageArray(f"{name}:{split}:{count}", pixels)
            targets = self.targets.get(split) or targets_of(kind, masks_of(pixels), f"{name}:{split}")
            splits[split] = Split(split, images, targets)
        classes = CLASSES if kind is Masks else ()
        return Dataset(name, classes, splits, None, recipes=self.recipes)


def run(
    folder: Path, task: str = "segmentation", variant: str = QUICK, *, network: Backbone | None = None,
    results: Run | None = None, **settings: Any,
) -> Record:  # fmt: skip
    """One case on the dataset of its kind; its caches below `folder`."""
    own = network or backbone()
    runner = Runner(Settings(cache_dir=folder, device="cpu", **settings), results)
    runner.add_backbone(own)
    dataset = "masked" if task == "segmentation" else "facing"
    return runner.prepare(Case(own.name, Task(task, dataset, variant))).execute()


TASKS = {"segmentation": SEGMENTATION, "normals": NORMALS}


def norms_of(body: nn.Module) -> list[nn.BatchNorm2d]:
    return [each for each in body.modules() if isinstance(each, nn.BatchNorm2d)]
