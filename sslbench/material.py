"""What one case is made of: its backbone, its dataset's splits, and their features when a protocol asks for them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sslbench.datasets import Dataset
from sslbench.features.batches import Batch, read_batches
from sslbench.features.device_store import Features, FeatureStore
from sslbench.features.extract import default_batch, feature_recipe
from sslbench.features.loading import input_name
from sslbench.features.maps import Maps
from sslbench.features.originals import Originals, open_originals
from sslbench.features.stacked import Pool
from sslbench.protocols.base import Labelled, Part

if TYPE_CHECKING:
    from sslbench.backbones import Backbone
    from sslbench.backbones.identity import Seen


class CaseMaterial:
    """The parts of one case, and a count of what obtaining their features took.

    extract_seconds, extracted_images: of pictures that were embedded now. obtaining: seconds that getting features took,
    from the cache or not. executions: how the network was run.
    """

    def __init__(self, backbone: Backbone, dataset: Dataset, store: FeatureStore) -> None:
        self.backbone = backbone
        self.dataset = dataset
        self.extract_seconds = 0.0
        self.extracted_images = 0
        self.obtaining = 0.0
        self._skipped: dict[str, set[int]] = {}
        self.executions: set[str] = set()
        self._store = store

    @cached_property
    def seen(self) -> Seen:
        """The network as it was when its case first asked: a look costs a pass over the weights, so one serves the case."""
        return self.backbone.look()

    def parts(self, names: Sequence[str]) -> dict[str, Part]:
        """Some splits."""
        splits = self.dataset.splits
        return {
            name: Part(
                splits[name].images,
                splits[name].targets,
                features=partial(self.features, name),
                unreadable=partial(self._unreadable, name),
                shown=partial(self._shown, name),
                originals=partial(self._originals, name),
                maps=partial(self._maps, name),
            )
            for name in names
        }

    def _shown(self, name: str) -> Iterator[Batch]:
        images, store, device = self.dataset.splits[name].images, self._store, self._store.device
        read = read_batches(
            images, self.backbone.preprocessing, store.settings.batch_size or default_batch(device),
            store.settings.extraction, store.pictures, pin=device != "cpu",
        )  # fmt: skip
        with contextlib.closing(read):
            for batch in read:
                self._unreadable(name, sorted({*range(batch.start, batch.stop)} - {*batch.rows}))
                yield batch

    def _originals(self, name: str, side: int) -> Originals:
        images, store = self.dataset.splits[name].images, self._store
        found = open_originals(
            images, side, extraction=store.settings.extraction, pictures=store.pictures, device=store.device
        )
        if len(found.rows) < len(images):
            self._unreadable(name, np.setdiff1d(np.arange(len(images)), found.rows).tolist())
        return found

    def _maps(self, name: str, most: int) -> Maps:
        start = time.perf_counter()
        images = self.dataset.splits[name].images
        # Once a case, as for features.
        again = not self.extracted_images
        found = self._store.maps(self.backbone, images, most, digest=self.seen.digest, again=again)
        self.executions.add("plain (maps)")
        if found.seconds:
            self.extract_seconds += found.seconds
            self.extracted_images += len(images)
        if len(found) < len(images):
            self._unreadable(name, np.setdiff1d(np.arange(len(images)), found.rows).tolist())
        self.obtaining += time.perf_counter() - start
        return found

    @property
    def skipped(self) -> dict[str, int]:
        """How many pictures of each split could not be read, those without one left out."""
        return {name: len(rows) for name, rows in self._skipped.items()}

    def _unreadable(self, name: str, rows: Sequence[int]) -> None:
        if rows:
            self._skipped.setdefault(name, set()).update(rows)

    def split(self, name: str) -> Labelled:
        """One split of a dataset with labels: x float32 (N, D) on the device, and its targets."""
        return self.parts([name])[name].labelled()

    def pooled(self) -> tuple[Pool, npt.NDArray[np.int64]]:
        """The dataset's pool and its targets: what few-shot episodes are drawn from."""
        parts = [self.split(name) for name in self.dataset.pool]
        return Pool([part.x for part in parts]), np.concatenate([part.targets for part in parts])

    def features(self, name: str) -> Features:
        """The frozen features of a split, on the device."""
        start = time.perf_counter()
        images = self.dataset.splits[name].images
        # Once a case: a network may write into itself while it runs.
        again = not self.extracted_images
        features = self._store.get(self.backbone, images, digest=self.seen.digest, again=again)
        self.executions.add(features.execution)
        if features.seconds:
            self.extract_seconds += features.seconds
            self.extracted_images += len(images)
        if len(features.rows) < len(images):
            self._unreadable(name, np.setdiff1d(np.arange(len(images)), features.rows).tolist())
        self.obtaining += time.perf_counter() - start
        return features

    def feature_recipes(self) -> dict[str, Any]:
        """What decides the features, by split."""
        settings = self._store.settings
        return {
            name: feature_recipe(
                self.backbone,
                split.images,
                settings.dtype,
                settings.stored,
                settings.extraction,
                digest=self.seen.digest,
            )
            for name, split in sorted(self.dataset.splits.items())
        }

    def network_recipe(self) -> dict[str, Any]:
        """Which network it is, and what it is shown."""
        return {
            "backbone": self.seen.digest,
            "pooling": self.backbone.pooling,
            "preprocessing": self.backbone.preprocessing.to_json(),
            "input": {
                name: input_name(split.images, self.backbone.preprocessing, self._store.settings.extraction)
                for name, split in sorted(self.dataset.splits.items())
            },
        }
