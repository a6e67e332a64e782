"""What a dataset is: splits of images with targets, and its declaration."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sslbench.config import Settings
from sslbench.datasets.images import Images
from sslbench.datasets.targets import Labels, Targets, as_targets
from sslbench.errors import DataError
from sslbench.metrics import metric_spec
from sslbench.sources import Source

if TYPE_CHECKING:
    from sslbench.datasets.published.facts import Expected
    from sslbench.datasets.published.layout import Layout


@dataclass(frozen=True)
class Split:
    """One named split: images and, row by row, targets.

    targets: Targets; an array of integers becomes them, (N,) class numbers `Labels` and (N, K) of 1, 0 and -1 `LabelSets`.
    Raises DataError for anything else.
    """

    name: str
    images: Images
    targets: Targets

    def __post_init__(self) -> None:
        try:
            # The class is frozen for its users.
            object.__setattr__(self, "targets", as_targets(self.targets))
        except DataError as error:
            raise DataError(f"split {self.name!r}: {error}") from error
        if len(self.images) != len(self.targets):
            raise DataError(f"split {self.name!r} has {len(self.images)} images but {len(self.targets)} targets")


@dataclass(frozen=True)
class Dataset:
    """Images and targets with named splits, ready to be embedded or trained on.

    metric: of recognition, what its scores are; None where the protocols for its targets have scores of their own. pool: the
    splits that few-shot episodes are drawn from. recipes: by the name of a protocol, the recipe that it takes here unless a task
    names one, where pictures are not of the size that its own is for. details: choices the record must state (seed of a random
    split, which folder served as test, ...). Raises UnknownNameError for an unknown metric, DataError for targets that do not
    fit the classes.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    metric: str | None = "top1"
    pool: tuple[str, ...] = ("train", "val", "test")
    details: Mapping[str, Any] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.metric is not None:
            metric_spec(self.metric)
        if len({type(split.targets) for split in self.splits.values()}) > 1:
            kinds = ", ".join(f"{name} has {split.targets.kind}" for name, split in self.splits.items())
            raise DataError(f"{self.name}: expected targets of one kind, but {kinds}")
        sizes: dict[str, int] = {}
        for name, split in self.splits.items():
            if sizes.setdefault(split.images.fingerprint, len(split.images)) != len(split.images):
                raise DataError(
                    f"{self.name}: the images of {name} have the fingerprint of another split's but another number; a "
                    "fingerprint has to change with the images"
                )
        for split in self.splits.values():
            split.targets.check(f"{self.name}, split {split.name!r}", len(self.classes))

    @property
    def target_type(self) -> type[Targets]:
        """The kind of its targets."""
        return next((type(split.targets) for split in self.splits.values()), Labels)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the classes and, for each split, of the images and the targets."""
        digest = hashlib.sha256(json.dumps(list(self.classes)).encode())
        for name in sorted(self.splits):
            split = self.splits[name]
            digest.update(f"|{name}|{split.images.fingerprint}|".encode())
            split.targets.feed(digest)
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class DatasetSpec:
    """The declaration of a dataset; nothing is read until `load`.

    loader: `module:function` taking (Settings) and returning a Dataset; imported on first use only, so that listing
    and collecting tasks costs no import. targets: their type, which decides the protocols. metric: a key of
    `sslbench.metrics.METRICS`, UnknownNameError otherwise; None for targets that are no labels. protocols: the ones that make
    sense for it; None stands for all that take such targets. markers: pytest markers of its cases, such as `download` or
    `slow`.

    origin: where the data come from, for people.

    For datasets that are files below the data directory: folder: where they are fetched to; sources: the files;
    layouts: where they may lie, the first complete one counts; expected: what is published about them; compat: the
    switches of `sslbench.compat` that concern this dataset in particular; citation: whom to cite.
    """

    name: str
    loader: str | Callable[[Settings], Dataset]
    num_classes: int
    summary: str
    licence: str
    origin: str
    metric: str | None = "top1"
    targets: type[Targets] = Labels
    protocols: Sequence[str] | None = None
    markers: Sequence[str] = ()
    folder: str = ""
    sources: tuple[Source, ...] = ()
    layouts: tuple[Layout, ...] = ()
    expected: Expected | None = None
    compat: tuple[str, ...] = ()
    citation: str = ""

    def __post_init__(self) -> None:
        if self.metric is not None:
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
            module, colon, function = loader.partition(":")
            if not colon:
                raise DataError(f"{self.name}: the loader is named module:function, got {loader!r}")
            loader = getattr(importlib.import_module(module), function)
        dataset: Any = loader(settings)
        if not isinstance(dataset, Dataset):
            raise DataError(f"{self.name}: its loader has to give a Dataset, got {type(dataset).__name__}")
        if dataset.target_type is not self.targets:
            raise DataError(
                f"{self.name}: declared with {self.targets.kind} (targets={self.targets.__name__}), but its loader gives "
                f"{dataset.target_type.kind}; declare targets={dataset.target_type.__name__}"
            )
        # With `expected`, the loader has checked more, and a compat switch may have changed the number of classes.
        if self.num_classes and not self.expected and len(dataset.classes) != self.num_classes:
            raise DataError(f"{self.name}: expected {self.num_classes} classes, found {len(dataset.classes)}")
        return dataset
