"""The rows of an official split before any picture is opened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from sslbench.datasets.images import ImageFiles, Images
from sslbench.datasets.published.layout import Disk
from sslbench.datasets.targets import Targets, as_targets
from sslbench.names import encoded

if TYPE_CHECKING:
    from sslbench.datasets.decoding import Prepare


class Rows(Protocol):
    """Ids and targets in official order, and a way to the pictures."""

    @property
    def ids(self) -> Sequence[str]:
        """Names that do not depend on the layout on disk, such as `class/file`."""

    @property
    def targets(self) -> Targets:
        """One a row."""

    @property
    def missing(self) -> Sequence[str]:
        """Ids without a picture on disk."""

    def take(self, rows: npt.NDArray[np.int64]) -> Rows:
        """Some of the rows, in the order given."""

    def images(self, dataset: str, bad_images: str) -> Images:
        """The pictures. bad_images: as in Settings."""


@dataclass(frozen=True)
class FileRows:
    """One image file a row.

    sizes: (N,) bytes, 0 for a file that is absent or empty. prepare: what is done to a picture before it becomes RGB;
    decoding: its name in the fingerprint.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    sizes: npt.NDArray[np.int64]
    targets: Targets
    prepare: Prepare | None = None
    decoding: str = ""

    def prepared(self, prepare: Prepare, decoding: str) -> FileRows:
        """The same rows, their pictures prepared before they become RGB."""
        return replace(self, prepare=prepare, decoding=decoding)

    @property
    def missing(self) -> list[str]:
        """Ids whose file is absent or empty."""
        return [self.ids[row] for row in np.flatnonzero(self.sizes == 0)]

    def take(self, rows: npt.NDArray[np.int64]) -> FileRows:
        """Some of the rows, in the order given."""
        ids, paths = tuple(self.ids[row] for row in rows), tuple(self.paths[row] for row in rows)
        return replace(self, ids=ids, paths=paths, sizes=self.sizes[rows], targets=self.targets.take(rows))

    def images(self, dataset: str, bad_images: str) -> ImageFiles:
        """The pictures, decoded when read.

        Ids and file sizes identify them, not the contents, which would be 37 GB to read for SUN397; nor the place or
        the time of the files, so that a copy hits the same cache.
        """
        digest = hashlib.blake2b(json.dumps([dataset, bad_images, self.decoding]).encode(), digest_size=16)
        for name, size in zip(self.ids, self.sizes, strict=True):
            digest.update(encoded(name) + f"\0{size}\n".encode())
        return ImageFiles(f"{dataset}:{digest.hexdigest()}", self.paths, bad_images, self.prepare)


def file_rows(
    root: Path, files: Sequence[str], targets: Any, disk: Disk, *, ids: Sequence[str] | None = None
) -> FileRows:
    """Rows from file names below a directory, `/` between their parts, with the sizes that `disk` knows.

    targets: Targets, or an array: (N,) class indices, or (N, K) int8. ids: the file names if not given.
    """
    if not isinstance(targets, Targets):
        array = np.asarray(targets)
        targets = as_targets(array if array.ndim == 2 else array.astype(np.int64))
    # Texts: a Path costs 100 times as much to join, and there are 100,000 files.
    paths = tuple(f"{root}/{file}" for file in files)
    sizes = np.array([disk.size(path) for path in paths], dtype=np.int64)
    return FileRows(tuple(files if ids is None else ids), paths, sizes, targets)
