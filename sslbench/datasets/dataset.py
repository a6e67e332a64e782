"""What a dataset is: image sources with content fingerprints, splits with targets, and its declaration."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sslbench.config import Settings
from sslbench.errors import DataError
from sslbench.metrics import metric_spec
from sslbench.sources import Source

if TYPE_CHECKING:
    from sslbench.datasets.expected import Expected
    from sslbench.datasets.layout import Layout


@dataclass(frozen=True)
class ImageSource:
    """An ordered set of images whose content `fingerprint` identifies.

    Datasets that label the same images differently share the source, and with it the cached features.
    read(start, stop) gives uint8 (B, H, W, 3), or a list of RGB PIL images with None for one that was unreadable and
    skipped under the `skip` policy. parallel: several threads may call it at once, a picture at a time. paths: the file of
    each picture, where `read` does nothing with it but decode and convert to RGB. bad_images: that policy, `fail` or `skip`.
    """

    fingerprint: str
    size: int
    read: Callable[[int, int], Any]
    parallel: bool = False
    paths: Sequence[str | Path] = ()
    bad_images: str = "fail"

    def __len__(self) -> int:
        return self.size


@dataclass(frozen=True)
class Split:
    """One named split: images and, row by row, targets.

    targets: int64 (N,) class indices, or int8 (N, K) for multi-label datasets: 1 present, 0 absent, -1 to be ignored; other
    types of integers become these. Raises DataError for anything else.
    """

    name: str
    images: ImageSource
    targets: npt.NDArray[Any]

    def __post_init__(self) -> None:
        given: Any = self.targets
        if not isinstance(given, np.ndarray):
            raise DataError(f"split {self.name!r}: targets must be a NumPy array, got {type(given).__name__}")
        # Numbers with a fraction would be cut to integers, and different targets would be one dataset.
        if given.dtype.kind not in {1: "iu", 2: "iub"}.get(given.ndim, ""):
            raise DataError(
                f"split {self.name!r}: targets must be integers, (N,) class numbers or (N, K) of 1, 0 and -1, got "
                f"{given.dtype} {given.shape}; if they are whole numbers, give targets.astype(np.int64)"
            )
        if len(self.images) != len(given):
            raise DataError(f"split {self.name!r} has {len(self.images)} images but {len(given)} targets")
        if given.ndim == 2:
            odd = np.flatnonzero(~np.isin(given, (-1, 0, 1)).all(axis=1))
            if odd.size:
                raise DataError(
                    f"split {self.name!r}: targets of several classes must be 1 (present), 0 (absent) or -1 (ignored), got "
                    f"{given[odd[0]].tolist()} in row {odd[0]}"
                )
        # Not every protocol indexes by every type. The class is frozen for its users.
        object.__setattr__(self, "targets", given.astype(np.int64 if given.ndim == 1 else np.int8, copy=False))


@dataclass(frozen=True)
class Dataset:
    """Images and targets with named splits, ready to be embedded.

    pool: the splits that few-shot episodes are drawn from. details: choices the record must state (seed of a random
    split, which folder served as test, ...). Raises UnknownNameError for an unknown metric, DataError for targets that
    do not fit the classes.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    metric: str
    kind: str = "recognition"
    pool: tuple[str, ...] = ("train", "val", "test")
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        metric_spec(self.metric)
        if len({split.targets.ndim for split in self.splits.values()}) > 1:
            raise DataError(f"{self.name}: some splits have one class an image, (N,), and some have several, (N, K)")
        for split in self.splits.values():
            _check_targets(f"{self.name}, split {split.name!r}", split.targets, len(self.classes))

    @property
    def multi_label(self) -> bool:
        """Whether an image can show several classes."""
        return any(split.targets.ndim == 2 for split in self.splits.values())

    @property
    def fingerprint(self) -> str:
        """Digest of the classes and, for each split, of the images and the targets."""
        digest = hashlib.sha256(json.dumps(list(self.classes)).encode())
        for name in sorted(self.splits):
            split = self.splits[name]
            digest.update(f"|{name}|{split.images.fingerprint}|".encode())
            digest.update(np.ascontiguousarray(split.targets, dtype="<i8").tobytes())
        return digest.hexdigest()[:16]


def _check_targets(where: str, targets: npt.NDArray[Any], classes: int) -> None:
    if targets.ndim == 2:
        if targets.shape[1] != classes:
            raise DataError(f"{where}: expected targets (N, {classes}), a column for each class, got {targets.shape}")
        return
    odd = np.flatnonzero((targets < 0) | (targets >= classes))
    if odd.size:
        raise DataError(f"{where}: expected a class from 0 to {classes - 1}, got {targets[odd[0]]} in row {odd[0]}")


@dataclass(frozen=True)
class DatasetSpec:
    """The declaration of a dataset; nothing is read until `load`.

    loader: `module:function` taking (Settings) and returning a Dataset; imported on first use only, so that listing
    and collecting tasks costs no import. kind: `recognition` (later: detection, segmentation, normals).
    metric: a key of `sslbench.metrics.METRICS`; UnknownNameError otherwise. protocols: the ones that make
    sense for it; None stands for all of its kind. markers: pytest markers of
    its cases, such as `download` or `slow`.

    For datasets that are files below the data directory: folder: where they are fetched to; sources: the files;
    layouts: where they may lie, the first complete one counts; expected: what is published about them; compat: the
    switches of `sslbench.compat` that concern this dataset in particular; citation: whom to cite. study: one of the
    study's 15 recognition datasets, to which its published figures apply.
    """

    name: str
    loader: str | Callable[[Settings], Dataset]
    num_classes: int
    summary: str
    licence: str
    source: str
    metric: str = "top1"
    kind: str = "recognition"
    protocols: Sequence[str] | None = None
    markers: Sequence[str] = ()
    folder: str = ""
    sources: tuple[Source, ...] = ()
    layouts: tuple[Layout, ...] = ()
    expected: Expected | None = None
    compat: tuple[str, ...] = ()
    citation: str = ""
    study: bool = False

    def __post_init__(self) -> None:
        metric_spec(self.metric)

    @property
    def by_hand(self) -> bool:
        """Whether a person has to get some of the files."""
        return any(source.manual and not source.urls for source in self.sources)

    def how_to_get(self) -> str:
        """What to do when files are missing: the command that fetches, and the steps for a person."""
        steps = dict.fromkeys(source.manual for source in self.sources if source.manual and not source.urls)
        fetched = [source.filename for source in self.sources if source.urls]
        told = [f"`sslbench fetch --dataset {self.name}` gets {', '.join(fetched)}"] if fetched else []
        if steps:
            told.append(f"By hand, into {self.folder} below the data directory: {' '.join(steps)}")
        return ". ".join(told)

    def load(self, settings: Settings) -> Dataset:
        """Read the dataset. Raises DataError when it is missing, incomplete or not what was declared."""
        loader = self.loader
        if isinstance(loader, str):
            module, _, function = loader.partition(":")
            loader = getattr(importlib.import_module(module), function)
        dataset: Dataset = loader(settings)
        # With `expected`, the loader has checked more, and a compat switch may have changed the number of classes.
        if self.num_classes and not self.expected and len(dataset.classes) != self.num_classes:
            raise DataError(f"{self.name}: expected {self.num_classes} classes, found {len(dataset.classes)}")
        return dataset
