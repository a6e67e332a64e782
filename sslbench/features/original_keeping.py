"""Pictures at their own size on disk: decoded once for all trainings, where there is room for them."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from torch import Tensor
from tqdm import tqdm

from sslbench.datasets import Images
from sslbench.errors import CacheWarning
from sslbench.features.original_file import ENTRY, FORMAT, SUFFIX, OriginalFile, checksum, ending, open_originals_file
from sslbench.features.original_loading import OriginalLoader, decoded
from sslbench.features.pictures import Pictures
from sslbench.files import replacing

# Decoded to tell how much room all of them take.
_SAMPLE = 64
# What the others may take on average, beside the sample's.
_MARGIN = 1.05


class _AbandonedError(Exception):
    """The file that was being written is not wanted after all."""


def find_or_keep(
    images: Images, loader: OriginalLoader, pictures: Pictures, recipe: dict[str, Any]
) -> tuple[Path, OriginalFile] | npt.NDArray[Any]:
    """The file of all pictures, written now if it is not there; or the index alone, where nothing could be kept.

    A second process that wants the same waits for the first. Warns with a CacheWarning of what is damaged and of what is not
    kept, and raises DataError for a picture that cannot be read.
    """
    path, count = pictures.path({**recipe, "format": FORMAT.decode()}, SUFFIX), len(images)
    if pictures.limit and (found := _open(pictures, path, count)) is not None:
        return path, found
    needed = _estimate(loader, count)
    if not pictures.make_room(needed):
        warnings.warn(
            f"the {count} pictures of {images.fingerprint} take {needed / 2**30:.2g} GiB when decoded, and --sslbench-decoded "
            f"allows {pictures.limit / 2**30:.2g} GiB and half of the free disk: each is decoded again whenever a training "
            f"takes it. Raise the option to {math.ceil(needed / 2**29) / 2:g} or more, or free disk space",
            CacheWarning,
            stacklevel=4,
        )
        return _decode(images, loader, None)
    with _locked(path):
        if (found := _open(pictures, path, count)) is not None:
            return path, found
        index = _write(images, loader, path, pictures.limit)
    return index if (found := _open(pictures, path, count)) is None else (path, found)


def _open(pictures: Pictures, path: Path, count: int) -> OriginalFile | None:
    if not path.exists():
        return None
    try:
        file = open_originals_file(path)
        if len(file.index) != count:
            raise ValueError(f"expected {count} pictures, got {len(file.index)}")
        os.utime(path)
    except (OSError, ValueError) as error:
        pictures.discard(path, str(error))
        return None
    return file


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire()
    except OSError:
        # A disk without locks: at worst two processes write the same, each under a name of its own.
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _estimate(loader: OriginalLoader, count: int) -> int:
    rows = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(int))
    sizes = [picture.pixels.nbytes for picture in map(loader.load, rows.tolist()) if picture is not None]
    share = sum(sizes) / len(rows)
    return (
        int(_MARGIN * share * count) + count * ENTRY.itemsize
        if len(rows) < count
        else sum(sizes) + count * ENTRY.itemsize
    )


def _write(images: Images, loader: OriginalLoader, path: Path, limit: int) -> npt.NDArray[Any]:
    index: npt.NDArray[Any] | None = None
    with contextlib.suppress(_AbandonedError), replacing(path) as temporary, temporary.open("wb") as file:
        writer = _Writer(file, limit)
        index = _decode(images, loader, writer)
        writer.finish(index)
    assert index is not None
    return index


def _decode(images: Images, loader: OriginalLoader, writer: _Writer | None) -> npt.NDArray[Any]:
    """The index of all pictures, each of which is decoded."""
    index, offset = np.zeros(len(images), dtype=ENTRY), 0
    progress = tqdm(
        total=len(images), desc=f"decoding {images.fingerprint}", unit="img", leave=False,
        disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with progress, contextlib.closing(decoded(loader, range(len(images)))) as coming:
        for row, found in enumerate(coming):
            progress.update()
            if found is None:
                continue
            picture = found.pixels
            index[row] = (offset, *picture.shape[1:], *found.size, checksum(picture.numpy()))
            offset += picture.nbytes
            if writer is not None:
                writer.append(picture)
    return index


class _Writer:
    """Appends pictures; gives up, with a warning, when the disk or the room that is granted is full."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file: IO[bytes] | None = file
        self._left = limit

    def append(self, picture: Tensor) -> None:
        self._left -= picture.nbytes
        if self._left < 0:
            self._give_up("they take more than --sslbench-decoded allows; raise it")
        self._write(picture.numpy().tobytes())

    def finish(self, index: npt.NDArray[Any]) -> None:
        self._write(ending(index))
        if self._file is None:
            raise _AbandonedError
        try:
            self._file.flush()
        except OSError as error:
            self._give_up(str(error))
            raise _AbandonedError from error

    def _write(self, content: bytes) -> None:
        if self._file is None:
            return
        try:
            # Not through a map: a full disk would end the process instead of raising.
            self._file.write(content)
        except OSError as error:
            self._give_up(str(error))

    def _give_up(self, why: str) -> None:
        if self._file is None:
            return
        warnings.warn(
            f"pictures are not kept, but decoded again whenever a training takes them: {why}",
            CacheWarning,
            stacklevel=6,
        )
        with contextlib.suppress(OSError):
            self._file.truncate(0)
        self._file = None
