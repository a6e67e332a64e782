"""Recognition tasks of the rendered world: what is asked of which picture set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.embedded._world_sets import LICENCE, SEEDS, SOURCE, scenes_of, world_dataset
from sslbench.datasets.targets import Labels
from sslbench.datasets.world import COLOURS, SHAPES, TEXTURES, Kind, Scenes


def _dataset(
    name: str, kind: Kind, classes: tuple[str, ...], answer: Callable[[Scenes], npt.NDArray[np.int64]]
) -> Dataset:
    targets = {split: Labels(answer(scenes_of(kind, split))) for split in SEEDS}
    return world_dataset(name, kind, classes, targets, metric="top1")


def world_shape(settings: Settings) -> Dataset:
    """Which solid."""
    return _dataset("world-shape", "single", SHAPES, lambda scenes: scenes.shape[:, 0])


def world_colour(settings: Settings) -> Dataset:
    """Which colour."""
    return _dataset("world-colour", "single", COLOURS, lambda scenes: scenes.colour[:, 0])


def world_texture(settings: Settings) -> Dataset:
    """Which texture."""
    return _dataset("world-texture", "single", TEXTURES, lambda scenes: scenes.texture[:, 0])


def world_count(settings: Settings) -> Dataset:
    """How many solids, one to six."""
    return _dataset("world-count", "scatter", tuple(str(n) for n in range(1, 7)), lambda scenes: scenes.count - 1)


def world_objects(settings: Settings) -> Dataset:
    """Which of 64 solids: shape x texture."""
    classes = tuple(f"{texture} {shape}" for shape in SHAPES for texture in TEXTURES)
    return _dataset(
        "world-objects", "objects", classes, lambda scenes: scenes.shape[:, 0] * len(TEXTURES) + scenes.texture[:, 0]
    )


SPECS = [
    DatasetSpec(name, f"{__name__}:{name.replace('-', '_')}", classes, summary, LICENCE, SOURCE)
    for name, classes, summary in (
        ("world-shape", 8, "which solid is it; colour, texture, pose, light and background vary"),
        ("world-colour", 8, "which colour is the solid, among coloured backgrounds and tinted lights"),
        ("world-texture", 8, "which texture is on the solid"),
        ("world-count", 6, "how many solids are there, one to six"),
        ("world-objects", 64, "64 classes of solids (shape x texture), colour a nuisance; for few-shot"),
    )
]
