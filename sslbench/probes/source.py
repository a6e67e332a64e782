"""The features as they came, read in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sslbench.errors import DataError

Matrix = Tensor | npt.NDArray[Any]
Features = Matrix | Sequence[Matrix]

CHUNK_BYTES = 16 << 20


class Source:
    """Features (n, d) of any float dtype: a torch tensor on any device, or an array, which may be a memory map, or several of
    them one below the other, which spares the copy that joining them would take.

    Raises DataError unless they are non-empty real matrices of equal width, with `dimension` columns where that is given.
    """

    def __init__(self, x: Features, *, dimension: int | None = None, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._parts = matrices(x)
        for part in self._parts:
            _check(part)
        widths = [int(part.shape[1]) for part in self._parts]
        self.n, self.d = sum(len(part) for part in self._parts), widths[0]
        if len(set(widths)) > 1:
            raise DataError(f"features: expected matrices of equal width, got {widths} columns")
        if dimension not in (None, self.d):
            raise DataError(f"features: expected {dimension} columns, as the probe was fitted on, got {self.d}")
        self.chunk_rows = max(1, chunk_bytes // (4 * self.d))

    def chunks(self, device: torch.device) -> Iterator[tuple[int, Tensor]]:
        """First row and float32 values (rows, d) on the device, piece by piece."""
        first = 0
        for part in self._parts:
            for start in range(0, len(part), self.chunk_rows):
                yield first + start, _read(part, slice(start, start + self.chunk_rows), device)
            first += len(part)

    def every(self, step: int, device: torch.device) -> Tensor:
        """Every step-th row as float32 on the device."""
        found, first = [], 0
        for part in self._parts:
            found.append(_read(part, slice(-first % step, None, step), device))
            first += len(part)
        return torch.cat(found)


def matrices(x: Features) -> Sequence[Matrix]:
    """One or several matrices as several. Raises DataError for none."""
    parts = [x] if isinstance(x, Tensor | np.ndarray) else list(x) if isinstance(x, list | tuple) else []
    if not parts or not all(isinstance(part, Tensor | np.ndarray) for part in parts):
        raise DataError(
            f"features: expected a torch tensor or a numpy array, or a list of them, got {type(x).__name__}"
        )
    return parts


def _check(x: Matrix) -> None:
    floating = x.dtype.is_floating_point if isinstance(x, Tensor) else x.dtype in (np.float16, np.float32, np.float64)
    if x.ndim != 2 or 0 in x.shape or not floating:
        raise DataError(f"features: expected floats of shape (n, d) with n, d >= 1, got {x.dtype} {tuple(x.shape)}")


def _read(x: Matrix, rows: slice, device: torch.device) -> Tensor:
    # Copied, because torch takes no read-only memory, and a memory map is read best in one go.
    part = x[rows] if isinstance(x, Tensor) else torch.from_numpy(np.array(x[rows], order="C"))
    return part.detach().to(device=device, dtype=torch.float32)
