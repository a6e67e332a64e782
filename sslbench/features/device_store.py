"""Features on the device, kept across cases in a bounded least-recently-used store."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from sslbench.config import Settings
from sslbench.datasets import Images
from sslbench.datasets.picture_warnings import PictureWarnings, picture_warnings
from sslbench.features.cache import FeatureCache
from sslbench.features.device import resolve_device
from sslbench.features.extract import extract_features, feature_recipe
from sslbench.features.maps import Maps, take_maps
from sslbench.features.pictures import Pictures

if TYPE_CHECKING:
    from sslbench.backbones import Backbone

CAPACITY_BYTES = 2 << 30


@dataclass(frozen=True)
class Features:
    """Embeddings of one set of images.

    x: float32 or float16 (M, D) on the device. rows: int64 (M,), the row of each. seconds: spent extracting, 0 when the
    features came from the cache. execution: how the network was run then, and why not faster.
    """

    x: torch.Tensor
    rows: npt.NDArray[np.int64]
    seconds: float
    execution: str


class FeatureStore:
    """Gives features on the device: from memory, else from the disk cache, else extracted and cached.

    capacity: bytes kept on the device; the least recently used features leave first.
    """

    def __init__(self, settings: Settings, capacity: int = CAPACITY_BYTES) -> None:
        self.settings = settings
        self.capacity = capacity
        self.cache = FeatureCache(settings.cache_dir, settings.shared_cache)
        self.pictures = Pictures(self.cache.pictures, int(settings.decoded_gib * 2**30))
        self.device = resolve_device(settings.device)
        self._held: OrderedDict[str, Features] = OrderedDict()

    def get(self, backbone: Backbone, images: Images, *, digest: str = "", again: bool = False) -> Features:
        """The features of a set of images by a backbone.

        digest: the backbone's, where the caller has looked already. again: look once more before anything is extracted.
        Raises BackboneError when the network is another one by then.
        """
        digest = digest or backbone.digest
        settings = self.settings
        recipe = feature_recipe(backbone, images, settings.dtype, settings.stored, settings.extraction, digest=digest)
        key = self.cache.path(recipe).stem
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        seconds = 0.0
        said: PictureWarnings | None = None

        def compute() -> dict[str, npt.NDArray[np.generic]]:
            nonlocal seconds, said
            if again:
                backbone.require(digest)
            start = time.perf_counter()
            with picture_warnings() as said:
                arrays = extract_features(
                    backbone,
                    images,
                    device=self.device,
                    dtype=self.settings.dtype,
                    batch_size=self.settings.batch_size,
                    stored=self.settings.stored,
                    extraction=self.settings.extraction,
                    pictures=self.pictures,
                )
            seconds = time.perf_counter() - start
            return arrays

        arrays, _ = self.cache.get(recipe, compute, backbone.name)
        if said is not None:
            # After the features are stored: where warnings are errors they must not be lost.
            said.tell(images.fingerprint)
        # Files of earlier versions do not say; their networks ran as they are.
        execution = arrays["execution"].tobytes().decode() if "execution" in arrays else "plain"
        features = Features(torch.from_numpy(arrays["x"]).to(self.device), arrays["rows"], seconds, execution)
        # The seconds belong to the case that extracted; a later case that finds the features in memory spent none.
        self._held[key] = replace(features, seconds=0.0)
        while len(self._held) > 1 and sum(held.x.nbytes for held in self._held.values()) > self.capacity:
            self._held.popitem(last=False)
        return features

    def maps(self, backbone: Backbone, images: Images, most: int, *, digest: str, again: bool = False) -> Maps:
        """The feature maps of a set of images by a backbone, which stay on disk.

        most: cells a side that a map has at most. digest, again: as in `get`.
        """
        settings = self.settings
        recipe = feature_recipe(backbone, images, settings.dtype, settings.stored, settings.extraction, digest=digest)

        def before() -> None:
            if again:
                backbone.require(digest)

        with picture_warnings() as said:
            found = take_maps(
                backbone, images, most, settings=settings, cache=self.cache, pictures=self.pictures, device=self.device,
                recipe=recipe, before=before,
            )  # fmt: skip
        said.tell(images.fingerprint)
        return found
