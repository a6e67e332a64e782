"""What a protocol is: it learns from the development splits, and what it learned is scored on what was held out."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar
from typing import Protocol as Interface

import numpy as np
import numpy.typing as npt

from sslbench.datasets import Dataset, Images, Labels, LabelSets, Targets
from sslbench.errors import DataError
from sslbench.metrics import MetricSpec
from sslbench.metrics.calibration_scores import Decided
from sslbench.protocols.outcome import Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from sslbench.backbones import Backbone, Preprocessing
    from sslbench.datasets.images import Loaded
    from sslbench.features.batches import Batch
    from sslbench.features.device_store import Features
    from sslbench.features.maps import Maps
    from sslbench.features.originals import Originals
    from sslbench.training.trials import Trials


@dataclass(frozen=True)
class Labelled:
    """Features with targets: x float32 or float16 (N, D) on the device; targets int64 (N,), or int8 (N, K) multi-label.

    rows: int64 (N,), the row of each in its split of `pictures` pictures, of which some may not have been read; None for all.
    """

    x: Tensor
    targets: npt.NDArray[Any]
    rows: npt.NDArray[np.int64] | None = None
    pictures: int | None = None


@dataclass(frozen=True)
class Part:
    """One split, as a protocol is given it.

    images, targets: all of them. features: gives the frozen, pooled features of the pictures that could be read, extracted or
    from the cache. unreadable: told the rows whose picture `load` had to leave out. shown: gives batches of all pictures as the
    network is to see them, resized and cropped but not normalised; originals: gives them at their own size, decoded once, those
    with a shorter side of more than so many pixels reduced to it; maps: gives the network's maps of them, with at most so many
    cells a side.
    """

    images: Images
    targets: Targets
    features: Callable[[], Features]
    unreadable: Callable[[Sequence[int]], None]
    shown: Callable[[], Iterator[Batch]]
    originals: Callable[[int], Originals]
    maps: Callable[[int], Maps]

    def load(self, rows: Sequence[int]) -> tuple[Loaded, list[int]]:
        """The pictures of some rows as `Images.load` gives them, without those that were skipped, and the rows of those given."""
        pictures = self.images.load(rows)
        if isinstance(pictures, np.ndarray):
            return pictures, list(rows)
        kept = [(row, picture) for row, picture in zip(rows, pictures, strict=True) if picture is not None]
        there = {row for row, _ in kept}
        self.unreadable([row for row in rows if row not in there])
        return [picture for _, picture in kept], [row for row, _ in kept]

    def labelled(self) -> Labelled:
        """The features with the labels of the pictures that could be read. Raises DataError for targets that are no labels."""
        values = label_values(self.targets)
        features = self.features()
        return Labelled(features.x, values[features.rows], features.rows, len(self.images))


@dataclass(frozen=True)
class _Parts:
    """Splits by name. classes: their names. metric: the dataset's, None where it has none.

    recipe: the one that the dataset names for the protocol, empty for none.
    """

    parts: Mapping[str, Part]
    classes: tuple[str, ...]
    metric: MetricSpec | None
    recipe: str = ""


class Development(_Parts):
    """The splits that a protocol may learn and select on; those that it is scored on are not among them."""

    @property
    def train(self) -> Part:
        """The split `train`."""
        return self.parts["train"]

    @property
    def val(self) -> Part:
        """The split `val`."""
        return self.parts["val"]


class HeldOut(_Parts):
    """The splits that a protocol is scored on, opened after it has learned."""

    @property
    def test(self) -> Part:
        """The split `test`."""
        return self.parts["test"]

    @property
    def first(self) -> Part:
        """The first split, which is `test` unless the declaration says otherwise."""
        return next(iter(self.parts.values()))


class Material(Interface):
    """What a case is made of, before anything is computed."""

    backbone: Backbone
    dataset: Dataset

    def feature_recipes(self) -> dict[str, Any]:
        """What decides the frozen features, by split."""

    def network_recipe(self) -> dict[str, Any]:
        """Which network it is, and what it is shown."""


class Predictor:
    """What learning leaves behind; it has never seen what is held out.

    hyperparameters: what was chosen, for the record. validation: decision values (N, K) on val of what was learned without it,
    and its targets (N,), which a temperature can be fitted on; None where there are none.
    """

    hyperparameters: Mapping[str, Any] = MappingProxyType({})
    validation: Decided | None = None


P = TypeVar("P", bound=Predictor)


class Protocol(ABC, Generic[P]):
    """How a backbone is adapted to a dataset and scored. What it takes and which splits it sees is in its declaration.

    trains: whether it runs the network itself, by `backbone.trainable()` or on pictures, instead of asking for features: the
    backbone then lies on the device, and is looked at once more before.
    """

    trains: ClassVar[bool] = False

    def check(self, dataset: Dataset) -> None:
        """Raise DataError where the targets, without any picture, tell that it cannot be run on a dataset."""

    def preprocessing(self, own: Preprocessing, compat: Mapping[str, str]) -> Preprocessing:
        """What the network is shown: by default its own preprocessing. compat: the choices that concern the task."""
        return own

    def ingredients(self, material: Material) -> dict[str, Any]:
        """What can change its scores beside task, data and choices.

        By default the recipe of each split's frozen features, or, where it trains, that of the network.
        """
        return {"network": material.network_recipe()} if self.trains else {"features": material.feature_recipes()}

    @abstractmethod
    def fit(self, development: Development, backbone: Backbone, trials: Trials) -> P:
        """Learn and select.

        backbone: frozen, `backbone.device` is where to work; whoever trains takes `trainable()`. trials: runs the trainings of a
        grid and keeps each. Raises DataError for splits that cannot be learned from.
        """

    @abstractmethod
    def score(self, predictor: P, held_out: HeldOut) -> Outcome:
        """Score once. Raises DataError for splits that cannot be scored on."""


def label_values(targets: Targets) -> npt.NDArray[Any]:
    """int64 (N,), or int8 (N, K) of 1, 0 and -1. Raises DataError for targets that are no labels."""
    if not isinstance(targets, Labels | LabelSets):
        raise DataError(f"expected labels, got {targets.kind}")
    return targets.values


def rows_digest(images: Images, targets: Targets, rows: npt.NDArray[np.int64]) -> str:
    """Identifies test items by pictures and the targets of some rows, of whatever kind: as `items_digest`."""
    return hashlib.sha256(f"{images.fingerprint}|{targets.take(rows).digest}".encode()).hexdigest()[:16]


def items_digest(images: Images, labels: npt.NDArray[Any]) -> str:
    """Identifies labelled test items: two records whose digest differs are never paired."""
    digest = hashlib.sha256(f"{images.fingerprint}|".encode())
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]
