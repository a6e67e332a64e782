"""Recognition tasks of the embedded world: which picture sets are rendered and what is asked of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, Split
from sslbench.datasets.images import ImageArray
from sslbench.datasets.targets import Labels
from sslbench.datasets.world import COLOURS, RENDERER_VERSION, SHAPES, TEXTURES, Scenes, render, sample_scenes

Kind = Literal["single", "scatter", "objects"]

# Test sets of 1,000 give a binomial standard error below 1.6 points; the training sets keep the whole embedded suite
# within minutes on two cores. The 64 x 66 pictures of `objects` allow 50 shots and 15 queries a class.
SIZES: dict[Kind, dict[str, int]] = {
    "single": {"train": 1200, "val": 400, "test": 1000},
    "scatter": {"train": 1200, "val": 400, "test": 1000},
    "objects": {"train": 2112, "val": 1056, "test": 1056},
}
SEEDS = {"train": 1, "val": 2, "test": 3}


@lru_cache(maxsize=9)
def _scenes(kind: Kind, split: str) -> Scenes:
    return sample_scenes(SIZES[kind][split], kind=kind, seed=SEEDS[split])


@lru_cache(maxsize=9)
def _images(kind: Kind, split: str) -> npt.NDArray[np.uint8]:
    return render(_scenes(kind, split)).images


def _source(kind: Kind, split: str) -> ImageArray:
    # The recipe identifies the pictures, not their pixels: another CPU may round a pixel to the next level.
    fingerprint = f"world:{RENDERER_VERSION}:{kind}:{SEEDS[split]}:{SIZES[kind][split]}:64"
    return ImageArray(fingerprint, lambda: _images(kind, split), SIZES[kind][split])


def _dataset(name: str, kind: Kind, classes: tuple[str, ...], attribute: str) -> Dataset:
    def targets(split: str) -> npt.NDArray[np.int64]:
        scenes = _scenes(kind, split)
        if attribute == "count":
            return np.asarray(scenes.count - 1, dtype=np.int64)
        if attribute == "object":
            return np.asarray(scenes.shape[:, 0] * len(TEXTURES) + scenes.texture[:, 0], dtype=np.int64)
        return np.asarray(getattr(scenes, attribute))[:, 0].astype(np.int64)

    return Dataset(
        name=name,
        classes=classes,
        splits={split: Split(split, _source(kind, split), Labels(targets(split))) for split in SEEDS},
        metric="top1",
        details={"renderer": RENDERER_VERSION, "seeds": SEEDS, "size": 64},
    )


def world_shape(settings: Settings) -> Dataset:
    """Which solid."""
    return _dataset("world-shape", "single", SHAPES, "shape")


def world_colour(settings: Settings) -> Dataset:
    """Which colour."""
    return _dataset("world-colour", "single", COLOURS, "colour")


def world_texture(settings: Settings) -> Dataset:
    """Which texture."""
    return _dataset("world-texture", "single", TEXTURES, "texture")


def world_count(settings: Settings) -> Dataset:
    """How many solids, one to six."""
    return _dataset("world-count", "scatter", tuple(str(n) for n in range(1, 7)), "count")


def world_objects(settings: Settings) -> Dataset:
    """Which of 64 solids: shape x texture."""
    classes = tuple(f"{texture} {shape}" for shape in SHAPES for texture in TEXTURES)
    return _dataset("world-objects", "objects", classes, "object")
