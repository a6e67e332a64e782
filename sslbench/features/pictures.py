"""Decoded and resized pictures on disk, so that several backbones of one geometry decode a dataset once."""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from sslbench.errors import CacheWarning
from sslbench.features.cache import kept_files, recipe_key
from sslbench.features.loading import Loader, Pixels
from sslbench.features.picture_file import checksum, open_records, record_type
from sslbench.files import replacing

FORMAT = "sslbench-pictures-1"


class _AbandonedError(Exception):
    """The file that was being written is not wanted after all."""


class Pictures:
    """Files below `root`, one for each set of images and geometry: `KEY.npy`, read through a memory map.

    Pictures at their own size, for training, are kept beside them in `KEY.pictures` (`original_keeping`), under the same limit.

    limit: bytes of all files together; the least recently used leave first. What would not fit, or would take more than
    half of the free disk, is not kept. A file is whole or absent; each picture has a checksum.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self.root, self.limit = root, limit

    def path(self, recipe: Mapping[str, Any], suffix: str = ".npy") -> Path:
        """Where the pictures of a recipe are or will be."""
        return self.root / f"{recipe_key({**recipe, 'format': FORMAT})}{suffix}"

    def open(self, recipe: Mapping[str, Any], count: int, size: tuple[int, int]) -> npt.NDArray[Any] | None:
        """The records (count,) of a recipe with pictures of size (H, W), or None when they are not there."""
        path = self.path(recipe)
        if not self.limit or not path.exists():
            return None
        try:
            records = open_records(path)
            if (records.dtype, records.shape) != (record_type(size), (count,)):
                raise ValueError(f"expected {count} pictures of {size}, got {records.shape} of {records.dtype}")
            os.utime(path)
        except (OSError, ValueError, EOFError) as error:
            self.discard(path, str(error))
            return None
        return records

    def discard(self, path: Path, why: str) -> None:
        """Remove a damaged file and say so."""
        warnings.warn(f"damaged picture file {path}: {why}; decoding again", CacheWarning, stacklevel=3)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def writing(self, recipe: Mapping[str, Any], count: int, size: tuple[int, int]) -> Iterator[Writer | None]:
        """A writer that keeps what it was given if all `count` pictures came; None where nothing is to be kept.

        A second process does not wait for the first: it decodes for itself.
        """
        path, needed = self.path(recipe), count * record_type(size).itemsize
        if not self.make_room(needed):
            yield None
            return
        lock = FileLock(path.with_suffix(".lock"), timeout=0)
        try:
            lock.acquire()
        except (Timeout, OSError):
            yield None
            return
        try:
            with contextlib.suppress(_AbandonedError), replacing(path) as temporary, temporary.open("wb") as file:
                writer = Writer(file, count, size)
                yield writer
                writer.finish()
        finally:
            lock.release()

    def make_room(self, needed: int) -> bool:
        """Whether so many bytes may be written; removes the least recently used files where that makes it so."""
        if not 0 < needed <= self.limit:
            return False
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            files = sorted(((path.stat(), path) for path in kept_files(self.root)), key=lambda pair: pair[0].st_mtime)
            total = sum(stat.st_size for stat, _ in files)
            for stat, path in files:
                if total + needed <= self.limit:
                    break
                # A process that has it mapped goes on reading.
                path.unlink(missing_ok=True)
                total -= stat.st_size
            return needed <= shutil.disk_usage(self.root).free // 2
        except OSError:
            return False


class Writer:
    """Appends batches in order; gives up, with a warning, when the disk is full."""

    def __init__(self, file: IO[bytes], count: int, size: tuple[int, int]) -> None:
        self._file: IO[bytes] | None = file
        self._missing, self._dtype = count, record_type(size)
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(file, header)

    def append(self, pixels: Pixels, present: list[bool]) -> None:
        """The next pictures, uint8 (B, H, W, 3); those that are not present are not looked at."""
        if self._file is None:
            return
        try:
            # Not through a map: a full disk would end the process instead of raising.
            self._file.write(_records_bytes(pixels, present, self._dtype))
        except OSError as error:
            warnings.warn(f"pictures are not kept for the next backbone: {error}", CacheWarning, stacklevel=2)
            with contextlib.suppress(OSError):
                self._file.truncate(0)
            self._file = None
        self._missing -= len(pixels)

    def finish(self) -> None:
        """Called by `writing` at the end."""
        if self._file is None or self._missing:
            raise _AbandonedError


class StoredLoader:
    """Pictures from a file; a damaged one is decoded again.

    records: what `Pictures.open` gave. fallback: decodes single rows.
    """

    grain = 16
    parallel = True

    def __init__(self, pictures: Pictures, path: Path, records: npt.NDArray[Any], fallback: Loader) -> None:
        self._pictures, self._path, self._records, self._fallback = pictures, path, records, fallback
        self._sound = True

    def load(self, start: int, stop: int, out: Pixels) -> list[bool]:
        """Each picture against its checksum."""
        return [self._one(row, out[row - start : row - start + 1]) for row in range(start, stop)]

    def _one(self, row: int, out: Pixels) -> bool:
        record = self._records[row]
        if record["check"] != checksum(record):
            if self._sound:
                self._sound = False
                self._pictures.discard(self._path, f"the checksum of picture {row} does not match")
            return self._fallback.load(row, row + 1, out)[0]
        out[0] = record["pixels"]
        return bool(record["present"])


def _records_bytes(pixels: Pixels, present: list[bool], dtype: np.dtype[Any]) -> bytes:
    records = np.zeros(len(pixels), dtype=dtype)
    records["present"] = present
    records["pixels"][present] = pixels[present]
    records["check"] = [checksum(record) for record in records]
    return records.tobytes()
