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
from torch.nn.functional import interpolate

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
    least: the share of a cell's pixels that have to count for it to be learned from.
    """

    kind: Kind
    width: int
    drawn: int
    least: float

    @abstractmethod
    def check(self, target: Array, where: str) -> None:
        """Raise DataError, which begins with `where`, for a target that cannot be."""

    @abstractmethod
    def pooled(self, target: Array, grid: Grid) -> tuple[Array, npt.NDArray[np.float64]]:
        """float32 (cells, width), the mean over the pixels of each cell that count, and what share of its pixels these are.

        Zeros, where there are none.
        """

    @abstractmethod
    def sums(self, target: Array) -> npt.NDArray[np.float64]:
        """(width,), what a picture adds to the answer of who does not look, which is the mean over the pictures."""

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
    least = 0.0

    def __init__(self, classes: Sequence[str], targets: Masks) -> None:
        self.width, self._targets, self._coding = len(classes), targets, Classes(len(classes))

    def check(self, target: Array, where: str) -> None:
        """Classes, or what is ignored."""
        self._coding.check(target, self._targets, where)

    def sums(self, target: Array) -> npt.NDArray[np.float64]:
        """Pixels of each class."""
        pixels: npt.NDArray[np.float64] = self._counted(np.zeros(target.size, np.int64), target, 1)[0].astype(
            np.float64
        )
        return pixels

    def pooled(self, target: Array, grid: Grid) -> tuple[Array, npt.NDArray[np.float64]]:
        """Shares of the classes."""
        cells = _cells(target.shape[:2], grid)
        counts = self._counted(cells, target, grid[0] * grid[1])
        total = counts.sum(axis=1)
        return _fractions(counts, total[:, None]).astype(np.float32), _fractions(total, _pixels(target.shape[:2], grid))

    def _counted(self, cells: npt.NDArray[np.int64], target: Array, number: int) -> npt.NDArray[np.int64]:
        labels = self._coding.encode(target, self._targets).ravel()
        there = labels != self._coding.none
        place = cells[there] * self.width + labels[there]
        counts: npt.NDArray[np.int64] = np.bincount(place, minlength=number * self.width)
        return counts.reshape(number, self.width)

    def answers(self, values: Tensor, size: Grid) -> Array:
        """uint8, or int32 for more than 256 classes."""
        return self._coding.decode(enlarged(values, size))

    def scores(self) -> DenseScores:
        """Overlap."""
        return Overlap(self.width, self._targets.ignore)


class NormalsCells(CellTask):
    """Mean directions; the answer is their direction."""

    kind: Kind = "normals"
    width = 3
    drawn = 64
    least = 0.5

    def check(self, target: Array, where: str) -> None:
        """Finite numbers (H, W, 3)."""
        if target.ndim != 3 or target.shape[2] != 3 or target.dtype.kind != "f" or not np.isfinite(target).all():
            raise DataError(
                f"{where}: expected finite normals float32 (H, W, 3), 0 where there is none, got {target.dtype} {target.shape}"
            )

    def pooled(self, target: Array, grid: Grid) -> tuple[Array, npt.NDArray[np.float64]]:
        """Unit vectors."""
        sums, share = _sums(target, np.any(target != 0, axis=2), grid)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return _fractions(sums, lengths).astype(np.float32), np.where(lengths[:, 0] > 0, share, 0.0)

    def sums(self, target: Array) -> npt.NDArray[np.float64]:
        """The sum of the normals."""
        total: npt.NDArray[np.float64] = target.sum(axis=(0, 1), dtype=np.float64)
        return total

    def answers(self, values: Tensor, size: Grid) -> Array:
        """Directions, not of unit length; towards the camera where they cancel out."""
        found: Array = enlarged(values, size).permute(0, 2, 3, 1).cpu().numpy()
        found[~found.any(axis=3)] = (0, 0, 1)
        return found

    def scores(self) -> DenseScores:
        """Angles."""
        return Angles()


class DepthCells(CellTask):
    """Mean logarithms of the depth."""

    kind: Kind = "depth"
    width = 1
    drawn = 64
    least = 0.5

    def check(self, target: Array, where: str) -> None:
        """Finite numbers (H, W), none below 0."""
        if target.ndim != 2 or target.dtype.kind != "f" or not (np.isfinite(target) & (target >= 0)).all():
            raise DataError(
                f"{where}: expected finite depths float32 (H, W), 0 where there is none, got {target.dtype} {target.shape}"
            )

    def pooled(self, target: Array, grid: Grid) -> tuple[Array, npt.NDArray[np.float64]]:
        """Logarithms, of the target's own unit."""
        there = target > 0
        logarithms = np.log(target, out=np.zeros(target.shape, np.float64), where=there)
        sums, share = _sums(logarithms[..., None], there, grid)
        return _fractions(sums, (share * _pixels(target.shape, grid))[:, None]).astype(np.float32), share

    def sums(self, target: Array) -> npt.NDArray[np.float64]:
        """The picture's mean logarithm, of each with a pixel that counts."""
        known = target[target > 0]
        return np.array([np.log(known, dtype=np.float64).mean() if known.size else 0.0])

    def answers(self, values: Tensor, size: Grid) -> Array:
        """Depths."""
        # What float32's exponential holds; a probe may answer anything.
        found: Array = enlarged(values, size)[:, 0].clamp(-80, 80).exp().cpu().numpy()
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


def reachable(task: CellTask, targets: Sequence[Array], grid: Grid) -> Tensor:
    """(B, width, H, W), what is true of each cell of targets of one size, enlarged to it: no answer on the grid is much nearer.

    Cells of which nothing is known take no part.
    """
    size = targets[0].shape[:2]
    pooled = [task.pooled(target, grid) for target in targets]
    known = torch.from_numpy(np.stack([share > 0 for _, share in pooled])).float().view(-1, 1, *grid)
    values = torch.from_numpy(np.stack([own.T for own, _ in pooled])).view(len(pooled), -1, *grid)
    # Of a pixel that counts, the own cell is known and has a quarter of the weight at least.
    return enlarged(values * known, size) / enlarged(known, size).clamp_min(0.2)


def enlarged(values: Tensor, size: Grid) -> Tensor:
    """Values (B, C, h, w) at another size."""
    return interpolate(values, size, mode="bilinear", align_corners=False)


@lru_cache(maxsize=16)
def _cells(size: Grid, grid: Grid) -> npt.NDArray[np.int64]:
    """The cell (H W,) in whose part of the picture each pixel's middle lies."""
    rows, columns = ((2 * np.arange(side) + 1) * cells // (2 * side) for side, cells in zip(size, grid, strict=True))
    return (rows[:, None] * grid[1] + columns).ravel()


@lru_cache(maxsize=16)
def _pixels(size: Grid, grid: Grid) -> npt.NDArray[np.int64]:
    """How many each cell has, none where the grid is finer than the picture."""
    return np.bincount(_cells(size, grid), minlength=grid[0] * grid[1])


def _sums(
    values: Array, there: npt.NDArray[np.bool_], grid: Grid
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sums (cells, C) of values (H, W, C) over pixels that are there, and their share of each cell's pixels."""
    number, kept = grid[0] * grid[1], there.ravel()
    own = _cells(values.shape[:2], grid)[kept]
    flat = values.reshape(-1, values.shape[2])[kept]
    channels = [np.bincount(own, weights=channel, minlength=number).astype(np.float64) for channel in flat.T]
    return np.stack(channels, axis=1), _fractions(np.bincount(own, minlength=number), _pixels(values.shape[:2], grid))


def _fractions(part: Array, whole: Array) -> npt.NDArray[np.float64]:
    """part / whole, 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)
