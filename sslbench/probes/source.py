"""The features as they came, read in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sslbench.errors import DataError

Features = Tensor | npt.NDArray[Any]

CHUNK_BYTES = 16 << 20


class Source:
    """Features (n, d) of any float dtype: a torch tensor on any device, or an array, which may be a memory map.

    Raises DataError unless they are a non-empty real matrix, with `dimension` columns where that is given.
    """

    def __init__(self, x: Features, *, dimension: int | None = None, chunk_bytes: int = CHUNK_BYTES) -> None:
        if not isinstance(x, Tensor | np.ndarray):
            raise DataError(f"features: expected a torch tensor or a numpy array, got {type(x).__name__}")
        floating = (
            x.dtype.is_floating_point if isinstance(x, Tensor) else x.dtype in (np.float16, np.float32, np.float64)
        )
        if x.ndim != 2 or 0 in x.shape or not floating:
            raise DataError(f"features: expected floats of shape (n, d) with n, d >= 1, got {x.dtype} {tuple(x.shape)}")
        self.n, self.d = int(x.shape[0]), int(x.shape[1])
        if dimension not in (None, self.d):
            raise DataError(f"features: expected {dimension} columns, as the probe was fitted on, got {self.d}")
        self._x = x
        self.chunk_rows = max(1, chunk_bytes // (4 * self.d))

    def chunks(self, device: torch.device) -> Iterator[tuple[int, Tensor]]:
        """First row and float32 values (rows, d) on the device, piece by piece."""
        for first in range(0, self.n, self.chunk_rows):
            yield first, self.take(slice(first, first + self.chunk_rows), device)

    def take(self, rows: slice, device: torch.device) -> Tensor:
        """Some rows as float32 on the device."""
        # Copied, because torch takes no read-only memory, and a memory map is read best in one go.
        part = self._x[rows] if isinstance(self._x, Tensor) else torch.from_numpy(np.array(self._x[rows], order="C"))
        return part.detach().to(device=device, dtype=torch.float32)
