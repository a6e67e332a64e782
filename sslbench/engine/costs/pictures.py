"""How many pictures a dataset has, by its declaration; files are listed where nothing is declared, and none is decoded."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from sslbench.config import Settings
from sslbench.datasets import DatasetSpec, dataset_spec
from sslbench.datasets.family import family_of
from sslbench.errors import DataWarning, SslbenchError

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
            images = {**images, "train": images["train"] - drawn, "val": drawn}
        return Counted(images, spec.num_classes, _SIDES.get(dataset, PHOTOGRAPH), dataset, {}, "declared")
    key = (dataset, str(settings.data_dir), settings.check_data)
    # A folder's declaration is made anew whenever it is asked for, and its name says all of it.
    declaration = None if family_of(dataset) else spec
    if key not in _LISTED or _LISTED[key][0] is not declaration:
        _LISTED[key] = declaration, _listed(spec, settings)
    return _LISTED[key][1]


# A suite has many cases on one dataset.
_LISTED: dict[tuple[str, str, str], tuple[DatasetSpec | None, Counted | str]] = {}


def _listed(spec: DatasetSpec, settings: Settings) -> Counted | str:
    try:
        with warnings.catch_warnings():
            # What is odd about the files is told when they are used.
            warnings.simplefilter("ignore", DataWarning)
            found = spec.load(settings)
    except SslbenchError as error:
        return str(error)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 a user's loader may raise anything, pytest.skip too: its case will tell
        return f"its loader raised {type(error).__name__}: {' '.join(str(error).split())}"
    counts = {name: len(split.images) for name, split in found.splits.items()}
    side = found.details.get("size")
    size = (side, side) if isinstance(side, int) else _SIDES.get(spec.name, PHOTOGRAPH)
    prints = "+".join(sorted(split.images.fingerprint for split in found.splits.values()))
    same = spec.name if family_of(spec.name) else prints
    return Counted(counts, len(found.classes), size, same, found.recipes, "counted")
