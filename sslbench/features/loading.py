"""How images become pixels at a network's input size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sslbench.backbones.preprocessing import Preprocessing
from sslbench.datasets import ImageFiles, Images
from sslbench.datasets.jpeg import decode_colour_jpeg, decoder
from sslbench.errors import DataError

# Part of the cache keys of features and pictures that are decoded this way: libjpeg-turbo through torchvision, resized
# by its second transforms on uint8.
FAST_INPUT = "decode_jpeg-v2"

Pixels = npt.NDArray[np.uint8]


class Loader(Protocol):
    """Fills a batch; `load` is called from threads, with `grain` rows a call or, for None, the whole batch."""

    @property
    def grain(self) -> int | None:
        """Rows a call."""

    @property
    def parallel(self) -> bool:
        """Whether several threads may call."""

    def load(self, start: int, stop: int, out: Pixels) -> list[bool]:
        """Write rows start to stop into uint8 (stop - start, H, W, 3); whether each could be read."""


def input_name(images: Images, preprocessing: Preprocessing, extraction: str) -> str:
    """`FAST_INPUT` where some pictures may be decoded that way, else `pil`."""
    fast = extraction == "fast" and _is_decoded_only(images) and preprocessing.on_tensors and decoder() is not None
    return FAST_INPUT if fast else "pil"


def _is_decoded_only(images: Images) -> bool:
    # Where something is done to a picture before it becomes RGB, PIL does it.
    return isinstance(images, ImageFiles) and images.prepare is None


def loader_of(images: Images, preprocessing: Preprocessing, extraction: str) -> Loader:
    """The loader of a set of images."""
    if isinstance(images, ImageFiles):
        return FileLoader(images, preprocessing, fast=input_name(images, preprocessing, extraction) == FAST_INPUT)
    return BatchLoader(images, preprocessing)


class BatchLoader:
    """Images that are read by one thread, a batch at a time."""

    grain = None
    parallel = False

    def __init__(self, images: Images, preprocessing: Preprocessing) -> None:
        self._images, self._preprocessing = images, preprocessing

    def load(self, start: int, stop: int, out: Pixels) -> list[bool]:
        """Through PIL where the pictures have another size."""
        images: Any = self._images.load(range(start, stop))
        if not isinstance(images, np.ndarray):
            images = [
                image
                if image is not None and _usable(self._images, start + place, image.size, self._preprocessing)
                else None
                for place, image in enumerate(images)
            ]
        present = [image is not None for image in images]
        if all(present):
            out[:] = self._preprocessing.pixels(images)
        elif any(present):
            out[present] = self._preprocessing.pixels([image for image in images if image is not None])
        return present


class FileLoader:
    """Files, which are independent of each other.

    fast: colour JPEG does without PIL.
    """

    grain = 1
    parallel = True

    def __init__(self, images: ImageFiles, preprocessing: Preprocessing, *, fast: bool) -> None:
        self._images, self._preprocessing, self._fast = images, preprocessing, fast

    def load(self, start: int, stop: int, out: Pixels) -> list[bool]:
        """What the fast way does not take goes through PIL, with its errors."""
        return [self._one(row, out[row - start]) for row in range(start, stop)]

    def _one(self, row: int, out: Pixels) -> bool:
        if self._fast:
            picture = decode_colour_jpeg(Path(self._images.paths[row]))
            if picture is not None:
                height, width = picture.shape[1:]
                if not _usable(self._images, row, (width, height), self._preprocessing):
                    return False
                out[:] = self._preprocessing.tensor_geometry(picture).permute(1, 2, 0).numpy()
                return True
        (image,) = self._images.load([row])
        if image is None or not _usable(self._images, row, image.size, self._preprocessing):
            return False
        out[:] = np.asarray(self._preprocessing.geometry(image))
        return True


def _usable(images: Images, row: int, size: tuple[int, int], preprocessing: Preprocessing) -> bool:
    """Whether a picture of (width, height) can be resized in bounded memory.

    Raises DataError that names it where not, unless unreadable ones are skipped.
    """
    told = preprocessing.too_long(*size)
    files = images if isinstance(images, ImageFiles) else None
    if told and not (files and files.bad_images == "skip"):
        name = files.paths[row] if files else f"{row} of {images.fingerprint}"
        raise DataError(
            f"cannot use the image {name}: {told}, or count and leave out such images with --sslbench-bad-images skip"
        )
    return not told
