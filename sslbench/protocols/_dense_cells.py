"""What is true of the cells of a grid over a picture, and how a probe's answers for cells become answers for pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from sslbench.datasets import Depths, Masks, Normals, Targets
from sslbench.errors import DataError
from sslbench.metrics.angles import Angles
from sslbench.metrics.dense import DenseScores
from sslbench.metrics.dense_kept import Kind
from sslbench.metrics.depth_errors import DepthErrors
from sslbench.metrics.overlap import Overlap
from sslbench.protocols._dense_coding import Classes

Array = npt.NDArray[Any]
Grid = tuple[int, int]


class CellTask(ABC):
    """One kind of question about pixels.

    kind: of its maps. width: numbers that a probe gives for a cell. drawn: cells of a picture that are learned from, by default.
    """

    kind: Kind
    width: int
    drawn: int

    @abstractmethod
    def check(self, target: Array, where: str) -> None:
        """Raise DataError, which begins with `where`, for a target that cannot be."""

    @abstractmethod
    def pooled(self, target: Array, grid: Grid) -> tuple[Array, npt.NDArray[np.bool_]]:
        """float32 (cells, width), the mean over the pixels of each cell that count, and which cells have enough of them."""

    @abstractmethod
    def answers(self, values: Tensor, size: Grid) -> Array:
        """What is predicted at a size (B, H, W, ...) from values on a grid (B, width, h, w), enlarged bilinearly."""

    @abstractmethod
    def scores(self) -> DenseScores:
        """What adds up truths and answers."""


class SegmentationCells(CellTask):
    """Shares of the classes; the answer is the largest. classes: names. ignore: of `Masks`."""

    kind: Kind = "masks"
    drawn = 16

    def __init__(self, classes: Sequence[str], targets: Masks) -> None:
        self.width, self._targets, self._coding = len(classes), targets, Classes(len(classes))

    def check(self, target: Array, where: str) -> None:
        """Classes, or what is ignored."""
        self._coding.check(target, self._targets, where)

    def counts(self, target: Array) -> npt.NDArray[np.int64]:
        """Pixels of each class (width,)."""
        return self._counted(np.zeros(target.size, np.int64), target, 1)[0]

    def pooled(self, target: Array, grid: Grid) -> tuple[Array, npt.NDArray[np.bool_]]:
        """A cell counts where one of its pixels does."""
        counts = self._counted(_cells(target.shape[:2], grid), target, grid[0] * grid[1])
        total = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, total, out=np.zeros(counts.shape, np.float32), where=total > 0)
        return shares, total[:, 0] > 0

    def _counted(self, cells: npt.NDArray[np.int64], target: Array, number: int) -> npt.NDArray[np.int64]:
        labels = self._coding.encode(target, self._targets).ravel()
        there = labels != self._coding.none
        place = cells[there] * self.width + labels[there]
        return np.bincount(place, minlength=number * self.width).reshape(number, self.width)

    def answers(self, values: Tensor, size: Grid) -> Array:
        """uint8, or int32 for more than 256 classes."""
        return self._coding.decode(_enlarged(values, size))

    def scores(self) -> DenseScores:
        """Overlap."""
        return Overlap(self.width, self._targets.ignore)


class NormalsCells(CellTask):
    """Mean directions; the answer is their direction. A cell counts where half of its pixels have a normal."""

    kind: Kind = "normals"
    width = 3
    drawn = 64

    def check(self, target: Array, where: str) -> None:
        """Finite numbers (H, W, 3)."""
        if target.ndim != 3 or target.shape[2] != 3 or target.dtype.kind != "f" or not np.isfinite(target).all():
            raise DataError(
                f"{where}: expected finite normals float32 (H, W, 3), 0 where there is none, got {target.dtype} {target.shape}"
            )

    def pooled(self, target: Array, grid: Grid) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Unit vectors."""
        sums, counted = _sums(target, target.any(axis=2), grid)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        mean = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
        return mean.astype(np.float32), counted & (lengths[:, 0] > 0)

    def answers(self, values: Tensor, size: Grid) -> Array:
        """Unit vectors; towards the camera where directions cancel out."""
        found: Array = normalize(_enlarged(values, size), dim=1).permute(0, 2, 3, 1).cpu().numpy()
        found[~found.any(axis=3)] = (0, 0, 1)
        return found

    def scores(self) -> DenseScores:
        """Angles."""
        return Angles()


class DepthCells(CellTask):
    """Mean logarithms of the depth. A cell counts where half of its pixels have one."""

    kind: Kind = "depth"
    width = 1
    drawn = 64

    def check(self, target: Array, where: str) -> None:
        """Finite numbers (H, W), none below 0."""
        if target.ndim != 2 or target.dtype.kind != "f" or not (np.isfinite(target) & (target >= 0)).all():
            raise DataError(
                f"{where}: expected finite depths float32 (H, W), 0 where there is none, got {target.dtype} {target.shape}"
            )

    def pooled(self, target: Array, grid: Grid) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Logarithms, of the target's own unit."""
        there = target > 0
        logarithms = np.log(target, out=np.zeros(target.shape, np.float64), where=there)
        sums, counted = _sums(logarithms[..., None], there, grid, mean=True)
        return sums.astype(np.float32), counted

    def answers(self, values: Tensor, size: Grid) -> Array:
        """Depths."""
        # What float32's exponential holds; a probe may answer anything.
        found: Array = _enlarged(values, size)[:, 0].clamp(-80, 80).exp().cpu().numpy()
        return found

    def scores(self) -> DenseScores:
        """Errors of depth."""
        return DepthErrors()


def task_of(targets: Targets, classes: Sequence[str]) -> CellTask:
    """The kind of question that targets answer."""
    if isinstance(targets, Masks):
        return SegmentationCells(classes, targets)
    if isinstance(targets, Normals):
        return NormalsCells()
    assert isinstance(targets, Depths)
    return DepthCells()


def _enlarged(values: Tensor, size: Grid) -> Tensor:
    return interpolate(values, size, mode="bilinear", align_corners=False)


@lru_cache(maxsize=16)
def _cells(size: Grid, grid: Grid) -> npt.NDArray[np.int64]:
    """The cell (H W,) in whose part of the picture each pixel's middle lies."""
    rows, columns = (
        (2 * np.arange(side) + 1) * cells // (2 * side) for side, cells in zip(size, grid, strict=True)
    )
    return (rows[:, None] * grid[1] + columns).ravel()


def _sums(
    values: Array, there: npt.NDArray[np.bool_], grid: Grid, *, mean: bool = False
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Sums (cells, C) or means of values (H, W, C) over pixels that are there, and where at least half of them are."""
    cells, number, kept = _cells(values.shape[:2], grid), grid[0] * grid[1], there.ravel()
    own = cells[kept]
    pixels, counts = np.bincount(cells, minlength=number), np.bincount(own, minlength=number)
    flat = values.reshape(-1, values.shape[2])[kept]
    sums = np.stack([np.bincount(own, weights=channel, minlength=number) for channel in flat.T], axis=1)
    if mean:
        sums = np.divide(sums, counts[:, None], out=np.zeros_like(sums), where=counts[:, None] > 0)
    return sums, (counts > 0) & (2 * counts >= pixels)
