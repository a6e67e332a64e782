"""How many pictures a dataset has, by its declaration; files are listed where nothing is declared, and none is decoded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sslbench.config import Settings
from sslbench.datasets import dataset_spec
from sslbench.datasets.family import family_of
from sslbench.errors import SslbenchError

# A photograph of the web, of which the study's sets mostly consist: about 500 x 375 pixels.
PHOTOGRAPH = (375, 500)
_SIDES = {
    "cifar10": (32, 32),
    "cifar100": (32, 32),
    "eurosat": (64, 64),
    "digits": (8, 8),
    "nyuv2": (480, 640),
    "nyuv2-depth": (480, 640),
}


@dataclass(frozen=True)
class Counted:
    """Pictures of a dataset.

    splits: how many each has. classes: how many. size: (H, W) of one, in pixels; assumed but for small sets. same: what two
    datasets of the same pictures have in common. recipes: by protocol, as `Dataset.recipes`. known: where the numbers are from.
    """

    splits: Mapping[str, int]
    classes: int
    size: tuple[int, int]
    same: str
    recipes: Mapping[str, str]
    known: str

    def of(self, *splits: str) -> int:
        """Pictures of these splits together; the one split of an undivided set stands for all that it lacks."""
        return sum(self.splits.get(split, 0) for split in splits)

    @property
    def all(self) -> int:
        """Pictures of all splits."""
        return sum(self.splits.values())


def pictures_of(dataset: str, settings: Settings) -> Counted | str:
    """What a dataset holds, or why that is not known."""
    spec = dataset_spec(dataset)
    if spec.expected is not None:
        images = {name: count if isinstance(count, int) else count[0] for name, count in spec.expected.images.items()}
        if "val" not in images and "train" in images:
            # The study's draw, `sslbench.datasets.splits.study_validation`; NYUv2's of whole scenes is about as many.
            drawn = math.floor(0.2 * images["train"])
            images = {"train": images["train"] - drawn, "val": drawn, **images} | {"train": images["train"] - drawn}
        return Counted(images, spec.num_classes, _SIDES.get(dataset, PHOTOGRAPH), dataset, {}, "declared")
    try:
        found = spec.load(settings)
    except SslbenchError as error:
        return str(error)
    counts = {name: len(split.images) for name, split in found.splits.items()}
    side = found.details.get("size")
    size = (side, side) if isinstance(side, int) else _SIDES.get(dataset, PHOTOGRAPH)
    same = (
        dataset if family_of(dataset) else "+".join(sorted(split.images.fingerprint for split in found.splits.values()))
    )
    return Counted(counts, len(found.classes), size, same, found.recipes, "counted")
