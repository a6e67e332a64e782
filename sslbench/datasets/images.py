"""The pictures of a split: files that are decoded when asked for, or arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from sslbench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from sslbench.datasets.decoding import Prepare

Loaded: TypeAlias = "npt.NDArray[np.uint8] | list[Image | None]"
"""uint8 (B, H, W, 3), or RGB pictures with None for one that was unreadable and skipped under the `skip` policy."""


class Images(ABC):
    """An ordered set of N pictures whose content `fingerprint` identifies.

    Datasets that label the same pictures differently share them, and with them the cached features.
    """

    fingerprint: str

    @abstractmethod
    def __len__(self) -> int:
        """N."""

    @abstractmethod
    def load(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Loaded:
        """The pictures of some rows, in the order given. Raises DataError for one that cannot be read."""

    def size(self, row: int) -> tuple[int, int] | None:
        """Height and width of a picture, None where that is not known without decoding or making it."""
        return None


@dataclass(frozen=True, eq=False)
class ImageArray(Images):
    """Pictures of one size in memory.

    pixels: uint8 (N, H, W, 3), or a function that gives it when the first picture is asked for and keeps it itself, if it is
    worth keeping; then `count` says how many there are.
    """

    fingerprint: str
    pixels: npt.NDArray[np.uint8] | Callable[[], npt.NDArray[np.uint8]]
    count: int | None = None

    def __len__(self) -> int:
        return len(self._all()) if self.count is None else self.count

    def load(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """uint8 (B, H, W, 3); of a range without copying."""
        if isinstance(rows, range) and rows.step == 1:
            return self._all()[rows.start : rows.stop]
        return self._all()[np.asarray(rows, dtype=np.int64)]

    def size(self, row: int) -> tuple[int, int] | None:
        """Of pixels that are there."""
        return None if callable(self.pixels) else (self._all().shape[1], self._all().shape[2])

    def _all(self) -> npt.NDArray[np.uint8]:
        pixels = self.pixels() if callable(self.pixels) else self.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
            raise DataError(
                f"the images {self.fingerprint}: expected RGB pixels uint8 (N, H, W, 3) from 0 to 255, got {pixels.dtype} "
                f"{pixels.shape}"
            )
        return pixels


@dataclass(frozen=True, eq=False)
class ImageFiles(Images):
    """A file for each picture; several threads may load at once.

    bad_images: `fail` on an unreadable file, or `skip` it. prepare: what is done to a picture before it becomes RGB.
    """

    fingerprint: str
    paths: Sequence[str | Path]
    bad_images: str = "fail"
    prepare: Prepare | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> list[Image | None]:
        """Decoded to RGB."""
        # Not at the top: whoever lists datasets needs no PIL.
        from sslbench.datasets.decoding import read_or_skip

        return [read_or_skip(Path(self.paths[row]), self.bad_images, self.prepare) for row in rows]

    def size(self, row: int) -> tuple[int, int] | None:
        """By the header of the file; None where it has none that can be read, or where pictures are prepared."""
        from sslbench.datasets.content import read_header

        header = None if self.prepare else read_header(Path(self.paths[row]))
        return None if header is None else (header[0][1], header[0][0])


def read_image(path: Path, prepare: Prepare | None = None) -> Image:
    """`sslbench.datasets.decoding.read_image`: one file decoded to RGB."""
    from sslbench.datasets import decoding

    return decoding.read_image(path, prepare)
