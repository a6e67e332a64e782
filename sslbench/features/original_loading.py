"""How pictures are decoded for training: at their own size, or reduced where they are much larger than what is cut from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sslbench import threads
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.datasets import ImageFiles, Images
from sslbench.datasets.jpeg import decode_colour_jpeg
from sslbench.features.batches import MOST_WORKERS
from sslbench.features.loading import FAST_INPUT, input_name

if TYPE_CHECKING:
    from PIL.Image import Image

# Pictures beyond the one in use that are decoded or being decoded.
_AHEAD = 4 * MOST_WORKERS


class Decoded(NamedTuple):
    """A picture. pixels: uint8 (3, h, w), reduced or not. size: its height and width before that."""

    pixels: Tensor
    size: tuple[int, int]


class OriginalLoader:
    """Decodes single pictures; several threads may call where `parallel` says so.

    side: a shorter side that is longer than this is reduced to it, antialiased and bicubic. extraction: `exact` for PIL's
    pixels, `fast` for colour JPEG without PIL.
    """

    def __init__(self, images: Images, side: int, extraction: str) -> None:
        self._images, self._side = images, side
        self._geometry = Preprocessing(input_size=(side, side), resize=side, interpolation="bicubic")
        self.input = input_name(images, self._geometry, extraction)
        self.parallel = isinstance(images, ImageFiles)

    def load(self, row: int) -> Decoded | None:
        """A picture, or None for one that cannot be read and is skipped. Raises DataError for one that is not."""
        if self.input == FAST_INPUT and isinstance(self._images, ImageFiles):
            picture = decode_colour_jpeg(Path(self._images.paths[row]))
            if picture is not None:
                return Decoded(self._reduced(picture), (picture.shape[1], picture.shape[2]))
        loaded: Any = self._images.load(range(row, row + 1))[0]
        if loaded is None:
            return None
        if isinstance(loaded, np.ndarray):
            from PIL.Image import fromarray

            loaded = fromarray(loaded)
        return Decoded(self._planar(loaded), (loaded.height, loaded.width))

    def _reduced(self, picture: Tensor) -> Tensor:
        height, width = picture.shape[1:]
        if min(height, width) <= self._side:
            return picture
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2.functional import resize

        width, height = self._geometry.resized(width, height)
        reduced: Tensor = resize(picture, [height, width], InterpolationMode.BICUBIC, antialias=True)
        return reduced.contiguous()

    def _planar(self, image: Image) -> Tensor:
        from PIL.Image import Resampling

        if min(image.size) > self._side:
            image = image.resize(self._geometry.resized(*image.size), Resampling.BICUBIC)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def pool(loader: OriginalLoader) -> ThreadPoolExecutor:
    """As many threads as the loader and this process may use."""
    workers = min(MOST_WORKERS, threads.uncrowded()) if loader.parallel else 1
    return ThreadPoolExecutor(workers, thread_name_prefix="sslbench-load")


def decoded(loader: OriginalLoader, rows: Iterable[int]) -> Generator[Decoded | None, None, None]:
    """Every picture in order, decoded ahead by threads. An error is raised here, that of the first row in order.

    To be closed by a caller who stops early.
    """
    waiting: deque[Future[Decoded | None]] = deque()
    coming = iter(rows)
    with pool(loader) as workers:
        try:
            for row in islice(coming, _AHEAD):
                waiting.append(workers.submit(loader.load, row))
            while waiting:
                yield waiting.popleft().result()
                for row in islice(coming, 1):
                    waiting.append(workers.submit(loader.load, row))
        finally:
            workers.shutdown(wait=True, cancel_futures=True)
