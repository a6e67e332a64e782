"""Frozen feature maps of a set of pictures: taken once, kept on disk, and read through a map."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from tqdm import tqdm

from sslbench.datasets import Images
from sslbench.errors import BackboneError, DataError, FeatureError
from sslbench.features.allocator import keep_large_blocks, return_large_blocks
from sslbench.features.batches import read_batches
from sslbench.features.extract import DTYPES, STORED, default_batch
from sslbench.features.streamed import Rows, RowWriter
from sslbench.threads import giving_way

if TYPE_CHECKING:
    from sslbench.backbones import Backbone
    from sslbench.config import Settings
    from sslbench.features.cache import FeatureCache
    from sslbench.features.pictures import Pictures

# Part of every cache key: raise it when maps change.
MAPS_VERSION = 1

Shape = tuple[int, int, int]
"""Channels, height, width of one level."""


@dataclass(frozen=True)
class Maps:
    """The maps of M pictures, all levels of each in one row.

    values: (N, sum of C h w), mapped from disk. rows: int64 (M,), those of the pictures that could be read. levels: shape of each
    level, fine to coarse. seconds: spent on taking them, 0 when they came from the cache. device: where `take` gives them.
    """

    values: npt.NDArray[Any]
    rows: npt.NDArray[np.int64]
    levels: tuple[Shape, ...]
    seconds: float
    device: str

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: Sequence[int] | slice) -> list[Tensor]:
        """float32 (B, C, h, w) of each level for some of the M pictures, on the device."""
        rows = torch.from_numpy(np.array(self.values[self.rows[places]])).to(self.device, torch.float32)
        sizes = [channels * high * wide for channels, high, wide in self.levels]
        parts = torch.split(rows, sizes, dim=1)
        return [part.view(len(rows), *level) for part, level in zip(parts, self.levels, strict=True)]


def map_shapes(backbone: Backbone, most: int) -> tuple[Shape, ...]:
    """Shapes of a backbone's maps at its own input size, those larger than `most` a side reduced to it.

    Raises BackboneError for a network that gives no maps, or maps with fewer cells than one.
    """
    high, wide = backbone.preprocessing.input_size
    return tuple(
        (level.channels, min(most, round(high / level.stride[0])), min(most, round(wide / level.stride[1])))
        for level in backbone.levels()
    )


def take_maps(
    backbone: Backbone, images: Images, most: int, *, settings: Settings, cache: FeatureCache, pictures: Pictures,
    device: str, recipe: Mapping[str, Any], before: Callable[[], None],
) -> Maps:  # fmt: skip
    """The maps of a set of pictures, from the cache or taken now, a batch at a time.

    most: cells a side that a level has at most; finer ones are averaged. recipe: of the features, to which that is added. before:
    called before anything is computed. Raises FeatureError for values that are not finite or that float16 cannot hold, and
    CacheError where there is no room.
    """
    backbone.to(device)
    levels = map_shapes(backbone, most)
    rows = Rows(len(images), sum(channels * high * wide for channels, high, wide in levels), settings.stored)
    seconds = 0.0

    def compute(writer: RowWriter) -> None:
        nonlocal seconds
        before()
        start = time.perf_counter()
        _fill(writer, backbone, images, levels, settings, pictures, device)
        seconds = time.perf_counter() - start

    arrays = cache.get_rows({**recipe, "maps": MAPS_VERSION, "most": most}, rows, compute, backbone.name)
    there = np.flatnonzero(arrays["present"]).astype(np.int64)
    if not len(there):
        raise DataError(f"{images.fingerprint}: no readable image is left to take maps of")
    return Maps(arrays["maps"], there, levels, seconds, device)


@torch.inference_mode()
def _fill(
    writer: RowWriter, backbone: Backbone, images: Images, levels: tuple[Shape, ...], settings: Settings,
    pictures: Pictures, device: str,
) -> None:  # fmt: skip
    autocast = DTYPES[settings.dtype]
    context = (
        torch.autocast(torch.device(device).type, dtype=autocast) if autocast is not None else contextlib.nullcontext()
    )
    if device == "cpu":
        keep_large_blocks()
    # Never folded: that the maps of a folded network are the same has not been shown of any, as it has of embeddings.
    backbone.network.module.to(memory_format=torch.channels_last)
    title = f"{backbone.name}'s maps of {images.fingerprint}"
    progress = tqdm(total=len(images), desc=title, unit="img", leave=False, disable=not sys.stderr.isatty())
    loaded = read_batches(
        images, backbone.preprocessing, settings.batch_size or default_batch(device), settings.extraction, pictures,
        pin=device != "cpu",
    )  # fmt: skip
    with progress, context, giving_way() as look, contextlib.closing(loaded):
        for batch in loaded:
            look()
            present = np.array(batch.present)
            values = np.zeros((len(present), sum(c * h * w for c, h, w in levels)), dtype=settings.stored)
            if batch.rows:
                pixels = batch.readable.to(device, non_blocking=True)
                tensor = backbone.preprocessing.normalise(pixels).contiguous(memory_format=torch.channels_last)
                rows = _row(backbone, backbone.feature_maps(tensor), levels).to(STORED[settings.stored])
                if not bool(rows.isfinite().all()):
                    raise FeatureError(
                        f"{backbone.name} gave NaN or infinite maps for one of the images {batch.start} to {batch.stop - 1} of "
                        f"{images.fingerprint}; check the checkpoint and preprocessing, or compute and store in float32"
                    )
                values[present] = rows.cpu().numpy()
            writer.append(values, present)
            progress.update(len(present))
    if device == "cpu":
        return_large_blocks()


def _row(backbone: Backbone, maps: Sequence[Tensor], levels: tuple[Shape, ...]) -> Tensor:
    """All levels of each picture one after the other."""
    parts = []
    for found, (channels, high, wide) in zip(maps, levels, strict=True):
        if found.shape[1] != channels or found.shape[2] < high or found.shape[3] < wide:
            raise BackboneError(
                f"{backbone.name}: expected maps ({channels}, {high}, {wide}) or finer, as for an empty picture, got "
                f"{tuple(found.shape[1:])}"
            )
        small = found.float() if found.shape[2:] == (high, wide) else adaptive_avg_pool2d(found.float(), (high, wide))
        parts.append(small.flatten(1))
    return torch.cat(parts, dim=1)
