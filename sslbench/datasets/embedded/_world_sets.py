"""The picture sets of the rendered world: which there are, and that datasets share them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from sslbench.datasets.dataset import Dataset, Split
from sslbench.datasets.images import ImageArray
from sslbench.datasets.targets import Targets
from sslbench.datasets.world import RENDERER_VERSION, Kind, Scenes, render, sample_scenes

# Test sets of 1,000 give a binomial standard error below 1.6 points; the training sets keep the whole embedded suite
# within minutes on two cores. The 64 x 66 pictures of `objects` allow 50 shots and 15 queries a class.
SIZES: dict[Kind, dict[str, int]] = {
    "single": {"train": 1200, "val": 400, "test": 1000},
    "scatter": {"train": 1200, "val": 400, "test": 1000},
    "objects": {"train": 2112, "val": 1056, "test": 1056},
}
SEEDS = {"train": 1, "val": 2, "test": 3}
LICENCE = "MIT"
SOURCE = "rendered by this package (sslbench.datasets.world)"


@lru_cache(maxsize=9)
def scenes_of(kind: Kind, split: str) -> Scenes:
    """The scenes of one split, drawn once a process."""
    return sample_scenes(SIZES[kind][split], kind=kind, seed=SEEDS[split])


@lru_cache(maxsize=9)
def _images(kind: Kind, split: str) -> npt.NDArray[np.uint8]:
    return render(scenes_of(kind, split)).images


def recipe(kind: Kind, split: str) -> str:
    """What identifies pictures and all that is true of them, and not their numbers: another CPU may round one otherwise."""
    return f"world:{RENDERER_VERSION}:{kind}:{SEEDS[split]}:{SIZES[kind][split]}:64"


def world_dataset(
    name: str, kind: Kind, classes: tuple[str, ...], targets: Mapping[str, Targets], metric: str | None
) -> Dataset:
    """A dataset on one of the picture sets; nothing is rendered before a picture is asked for."""
    splits = {
        split: Split(split, ImageArray(recipe(kind, split), partial(_images, kind, split), size), targets[split])
        for split, size in SIZES[kind].items()
    }
    details = {"renderer": RENDERER_VERSION, "seeds": SEEDS, "size": 64}
    return Dataset(name=name, classes=classes, splits=splits, metric=metric, details=details)
