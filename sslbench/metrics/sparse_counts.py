"""Counts of many pictures over many cells, of which each picture fills few."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class SparseCounts:
    """The cells that each picture fills, with their counts: 6 or 8 bytes a cell, by the number of cells there are."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self._index: list[NDArray[Any]] = []
        self._counts: list[NDArray[np.uint32]] = []

    def __len__(self) -> int:
        return len(self._index)

    def add(self, counts: NDArray[np.int64]) -> None:
        """Keep those of one picture, (cells,)."""
        filled = np.flatnonzero(counts)
        self._index.append(filled.astype(np.uint16 if self.cells <= 2**16 else np.uint32))
        self._counts.append(counts[filled].astype(np.uint32))

    def grouped(self, group: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
        """Counts of each picture by group, (N, groups). group: of each cell, (cells,), from 0 to groups - 1."""
        sums = np.zeros((len(self), groups))
        for row, index, counts in zip(sums, self._index, self._counts, strict=True):
            row[:] = np.bincount(group[index], weights=counts, minlength=groups)
        return sums

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.uint32]]:
        """Where each picture's cells start, (N + 1,), their numbers and counts, one picture after the other."""
        starts = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum([len(index) for index in self._index], out=starts[1:])
        return starts, np.concatenate(self._index), np.concatenate(self._counts)
