"""The pictures that a training or a detector is shown: decoded once, at their own size, in any order."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sslbench.datasets import Images
from sslbench.datasets.picture_warnings import picture_warnings
from sslbench.errors import DataError
from sslbench.features.original_file import OriginalFile
from sslbench.features.original_keeping import find_or_keep
from sslbench.features.original_loading import OriginalLoader, pool
from sslbench.features.pictures import Pictures

# Of the free memory of a GPU, what the pictures of a split may take when they are opened.
_DEVICE_SHARE = 0.4
# Pictures that are taken together on the way there, so that threads decode what has to be decoded again.
_AT_ONCE = 64


class Source(ABC):
    """Where the pictures of some rows come from. label: `memory`, `kept` or `decoded again`."""

    label: str

    @abstractmethod
    def take(self, rows: Sequence[int]) -> list[Tensor]:
        """uint8 (3, h, w) of each, on the CPU."""

    def prefetch(self, rows: Sequence[int]) -> None:
        """They will be taken next; by default they are there."""
        return None


class Originals:
    """M pictures of any sizes.

    rows: int64 (M,), the row of each in its set; those that could not be read are left out under the `skip` policy. sizes: int64
    (M, 2) on the CPU, height and width. full_sizes: the same before pictures were reduced. device: where `take` gives pictures.
    label: where they come from: `memory`, `kept` (on disk) or `decoded again` for each use. bytes: of all pictures.

    On a CUDA device all of them are put there when they take less than two fifths of its free memory; otherwise those that are
    taken are copied from pinned memory. (That path has not been run where this was written: no GPU.)
    """

    def __init__(
        self, source: Source, rows: npt.NDArray[np.int64], sizes: Tensor, full_sizes: Tensor, device: str
    ) -> None:
        self.rows, self.sizes, self.full_sizes, self.device = rows, sizes, full_sizes, device
        self.label = source.label
        self.bytes = int(3 * sizes.prod(dim=1).sum())
        self._source = source
        self._places: list[Tensor] | None = None
        if device.startswith("cuda") and self.bytes < _DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
            self._places = _on_device(source, rows, sizes, device)

    def __len__(self) -> int:
        """M."""
        return len(self.rows)

    def take(self, places: Sequence[int]) -> list[Tensor]:
        """uint8 (3, h, w) of each place from 0 to M, on the device; not to be written to.

        Raises DataError for a picture that is to be decoded again and has changed or cannot be read any more.
        """
        if self._places is not None:
            return [self._places[place] for place in places]
        pictures = self._source.take(self._rows_of(places))
        if self.device.startswith("cuda"):
            return [picture.pin_memory().to(self.device, non_blocking=True) for picture in pictures]
        return pictures

    def prefetch(self, places: Sequence[int]) -> None:
        """Begin to decode what is taken next, and forget what was to be; nothing to do where pictures are in memory or kept."""
        if self._places is None:
            self._source.prefetch(self._rows_of(places))

    def _rows_of(self, places: Sequence[int]) -> list[int]:
        rows: list[int] = self.rows[np.asarray(places, dtype=np.int64)].tolist()
        return rows


def open_originals(images: Images, side: int, *, extraction: str, pictures: Pictures, device: str) -> Originals:
    """The pictures of a set, decoded to planar RGB.

    Arrays stay in memory. Files are decoded once into a file below `pictures.root`; what does not fit there is decoded again for
    each use, which a CacheWarning says.

    Args:
        images: N pictures.
        side: pixels; a picture whose shorter side is longer is reduced to it (antialiased, bicubic), others stay as they are.
        extraction: `exact` for PIL's pixels, or `fast` for colour JPEG without PIL: the same pixels, reduced ones within 2
            levels.
        pictures: where files are kept, and how much.
        device: `cpu`, `cuda` or `cuda:N`.

    Raises:
        DataError: a picture cannot be read, unless such ones are skipped; no picture is left; or `side` is not positive.
    """
    if side < 1:
        raise DataError(f"pictures cannot be reduced to {side} pixels; expected a shorter side of at least 1")
    loader = OriginalLoader(images, side, extraction)
    with picture_warnings() as said:
        source, sizes = _source(images, loader, pictures, side)
    said.tell(images.fingerprint)
    rows = sizes[:, 0].nonzero()[0]
    if not len(rows):
        raise DataError(f"{images.fingerprint}: no readable image is left to be used")
    kept, full = torch.from_numpy(sizes[rows]).chunk(2, dim=1)
    return Originals(source, rows, kept, full, device)


def _source(
    images: Images, loader: OriginalLoader, pictures: Pictures, side: int
) -> tuple[Source, npt.NDArray[np.int64]]:
    """Where pictures come from, and int64 (N, 4): height and width, and both before the reduction; 0 for what cannot be read."""
    if not len(images):
        raise DataError(f"{images.fingerprint}: there is no image")
    if not loader.parallel and isinstance(images.load(range(1)), np.ndarray):
        held = _InMemory(images, loader, side)
        return held, np.array([[*picture.shape[1:], *held.size] for picture in held.pictures], dtype=np.int64)
    recipe = {"images": images.fingerprint, "input": loader.input, "shorter_side": side}
    found = find_or_keep(images, loader, pictures, recipe)
    if isinstance(found, tuple):
        path, file = found
        return _Kept(file, loader, pictures, path), _sizes(file.index)
    return _DecodedAgain(loader, found), _sizes(found)


def _sizes(index: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.stack([index[name] for name in ("height", "width", "full_height", "full_width")], axis=1).astype(np.int64)


class _InMemory(Source):
    label = "memory"

    def __init__(self, images: Images, loader: OriginalLoader, side: int) -> None:
        pixels: Any = images.load(range(len(images)))
        self.size = pixels.shape[1:3]
        if min(pixels.shape[1:3]) > side:
            loaded = (loader.load(row) for row in range(len(images)))
            self.pictures = [picture.pixels for picture in loaded if picture is not None]
        else:
            self.pictures = list(torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))))

    def take(self, rows: Sequence[int]) -> list[Tensor]:
        return [self.pictures[row] for row in rows]


class _Kept(Source):
    """From a file; each picture is checked when it is taken first, and a damaged one decoded again."""

    label = "kept"

    def __init__(self, file: OriginalFile, loader: OriginalLoader, pictures: Pictures, path: Path) -> None:
        self._file, self._loader, self._pictures, self._path = file, loader, pictures, path
        self._checked = np.zeros(len(file.index), dtype=bool)
        self._again: dict[int, Tensor] = {}
        # Columns: a field of a record takes a microsecond to read, three of them longer than all else here.
        self._columns = [np.ascontiguousarray(file.index[name], np.int64) for name in ("offset", "height", "width")]
        with warnings.catch_warnings():
            # Of memory that must not be written to; nothing here does.
            warnings.simplefilter("ignore", UserWarning)
            self._content = torch.from_numpy(file.content)

    def take(self, rows: Sequence[int]) -> list[Tensor]:
        return [self._one(row) for row in rows]

    def _one(self, row: int) -> Tensor:
        if not self._checked.item(row):
            self._check(row)
        if row in self._again:
            return self._again[row]
        offset, height, width = (column.item(row) for column in self._columns)
        return self._content.as_strided((3, height, width), (height * width, width, 1), offset)

    def _check(self, row: int) -> None:
        if not self._file.is_sound(row):
            if not self._again:
                self._pictures.discard(self._path, f"the checksum of picture {row} does not match")
            self._again[row] = _load_again(self._loader, self._file.index, row)
        self._checked[row] = True


class _DecodedAgain(Source):
    label = "decoded again"

    def __init__(self, loader: OriginalLoader, index: npt.NDArray[Any]) -> None:
        self._loader, self._index = loader, index
        self._pool: ThreadPoolExecutor | None = None
        self._coming: dict[int, Future[Tensor]] = {}

    def take(self, rows: Sequence[int]) -> list[Tensor]:
        self.prefetch(rows)
        # Taken out first: after an error in one of them none is held any longer.
        coming = {row: self._coming.pop(row) for row in set(rows)}
        return [coming[row].result() for row in rows]

    def prefetch(self, rows: Sequence[int]) -> None:
        if self._pool is None:
            self._pool = pool(self._loader)
        # What was to be next and is not any more would be held for ever: a training ends, or diverges.
        for row in self._coming.keys() - set(rows):
            self._coming.pop(row).cancel()
        for row in rows:
            if row not in self._coming:
                self._coming[row] = self._pool.submit(_load_again, self._loader, self._index, row)


def _load_again(loader: OriginalLoader, index: npt.NDArray[Any], row: int) -> Tensor:
    picture = loader.load(row)
    size = int(index[row]["height"]), int(index[row]["width"])
    if picture is None or tuple(picture.pixels.shape[1:]) != size:
        now = "it cannot be read any more" if picture is None else f"it is {tuple(picture.pixels.shape[1:])} now"
        raise DataError(
            f"image {row} was {size} pixels (height, width) when its set was opened, and {now}; leave the files alone while "
            "something is trained on them, and run it again"
        )
    return picture.pixels


def _on_device(source: Source, rows: npt.NDArray[np.int64], sizes: Tensor, device: str) -> list[Tensor]:
    """All pictures in one block on the device."""
    lengths = (3 * sizes.prod(dim=1)).tolist()
    block = torch.empty(sum(lengths), dtype=torch.uint8, device=device)
    places = [part.view(3, *size) for part, size in zip(torch.split(block, lengths), sizes.tolist(), strict=True)]
    for start in range(0, len(rows), _AT_ONCE):
        pictures = source.take(rows[start : start + _AT_ONCE].tolist())
        for place, picture in zip(places[start : start + _AT_ONCE], pictures, strict=True):
            place.copy_(picture)
    return places
