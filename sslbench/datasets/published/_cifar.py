"""CIFAR's Python files: pickled dictionaries of uint8 pixels and labels."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslbench.datasets.images import Images
from sslbench.datasets.published.layout import Found
from sslbench.datasets.published.opening import Listing
from sslbench.datasets.targets import Labels
from sslbench.errors import DataError
from sslbench.unpickling import RestrictedUnpickler, numpy_arrays


def read_pickle(path: Path) -> dict[str, Any]:
    """One file as a dictionary. Raises DataError for what is not one of CIFAR's files."""
    try:
        with path.open("rb") as file:
            content = RestrictedUnpickler(file, numpy_arrays, encoding="latin1").load()
    except (OSError, EOFError, ValueError, IndexError, AttributeError, ImportError, pickle.UnpicklingError) as error:
        raise DataError(f"cannot read {path}: {error}; fetch or extract it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a pickled dictionary, got a {type(content).__name__}; fetch it again")
    return content


@dataclass(frozen=True)
class CifarRows:
    """Rows in files of pixels, which are read one file at a time.

    files: (path, rows) in order. content: digest of all pixels. positions: (N,) row numbers over all files.
    """

    files: tuple[tuple[Path, int], ...]
    content: str
    positions: npt.NDArray[np.int64]
    targets: Labels

    @property
    def ids(self) -> list[str]:
        """`FILE/ROW`."""
        file, row = self._place(self.positions)
        return [f"{self.files[number][0].name}/{position}" for number, position in zip(file, row, strict=True)]

    @property
    def missing(self) -> list[str]:
        """None: a file has all its rows."""
        return []

    def take(self, rows: npt.NDArray[np.int64]) -> CifarRows:
        """Some of the rows, in the order given."""
        return CifarRows(self.files, self.content, self.positions[rows], self.targets.take(rows))

    def images(self, dataset: str, bad_images: str) -> Images:
        """The pictures; none of them can be unreadable by itself."""
        digest = hashlib.blake2b(json.dumps([dataset, self.content]).encode(), digest_size=16)
        digest.update(self.positions.astype("<i8").tobytes())
        return _CifarImages(f"{dataset}:{digest.hexdigest()}", self)

    def load(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Pictures uint8 (B, 32, 32, 3)."""
        file, row = self._place(self.positions[np.asarray(rows, dtype=np.int64)])
        images = np.empty((len(row), 32, 32, 3), dtype=np.uint8)
        for number in np.unique(file):
            images[file == number] = _pixels(self.files[number][0])[row[file == number]]
        return images

    def _place(self, positions: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        ends = np.cumsum([rows for _, rows in self.files])
        file = np.searchsorted(ends, positions, side="right")
        return file, positions - (ends - [rows for _, rows in self.files])[file]


@dataclass(frozen=True, eq=False)
class _CifarImages(Images):
    fingerprint: str
    rows: CifarRows

    def __len__(self) -> int:
        return len(self.rows.positions)

    def load(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return self.rows.load(rows)


def read_cifar(found: Found, splits: Mapping[str, Sequence[str]], *, labels: str, names: str) -> Listing:
    """Splits, each of some parts of the layout. labels, names: the keys of the labels and of the class names."""
    meta = read_pickle(found.path("meta"))
    if names not in meta:
        raise DataError(f"{found.path('meta')}: expected {names}, found {', '.join(map(str, meta))}; fetch it again")
    classes = tuple(str(name) for name in meta[names])
    return Listing(classes, {split: _read_split([found.path(part) for part in parts], labels, len(classes))
                             for split, parts in splits.items()})  # fmt: skip


def _read_split(paths: list[Path], labels: str, classes: int) -> CifarRows:
    digest = hashlib.blake2b(digest_size=16)
    files: list[tuple[Path, int]] = []
    targets: list[npt.NDArray[np.int64]] = []
    for path in paths:
        content = read_pickle(path)
        pixels = _flat_pixels(path, content)
        given = np.asarray(content.get(labels, []))
        if given.shape != (len(pixels),) or given.dtype.kind not in "iu" or not np.isin(given, range(classes)).all():
            raise DataError(
                f"{path}: expected {labels}, {len(pixels)} numbers from 0 to {classes - 1}, got {given.dtype} "
                f"{given.shape}; fetch it again"
            )
        digest.update(np.ascontiguousarray(pixels).data)
        files.append((path, len(pixels)))
        targets.append(given.astype(np.int64))
    rows = np.concatenate(targets)
    return CifarRows(tuple(files), digest.hexdigest(), np.arange(len(rows)), Labels(rows))


def _flat_pixels(path: Path, content: dict[str, Any]) -> npt.NDArray[np.uint8]:
    pixels = content.get("data")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3072:
        got = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise DataError(f"{path}: expected data as uint8 (N, 3072), got {got}; fetch it again")
    return pixels


# All files of both sets, 0.4 GB at most: a shuffled batch takes rows from each, and unpickling one takes longer than a batch.
@lru_cache(maxsize=8)
def _pixels(path: Path) -> npt.NDArray[np.uint8]:
    """uint8 (N, 32, 32, 3). A row holds the red plane, then green, then blue."""
    return _flat_pixels(path, read_pickle(path)).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
