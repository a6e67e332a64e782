"""The rows that a dense probe is fitted on: features of cells, drawn from every picture, with what is true of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sslbench.features.maps import Maps
from sslbench.protocols._dense_cells import CellTask, Grid, SegmentationCells
from sslbench.protocols._dense_coding import check_counts, check_size
from sslbench.protocols.base import Part

AT_ONCE = 64
# More features than this are written to disk and mapped.
_IN_MEMORY = 1 << 30
_EPSILON = 1e-5  # of a channel's variance, as in torch's BatchNorm


@dataclass(frozen=True)
class Drawn:
    """Cells of the pictures of a split: those of row r are start[r] to start[r + 1].

    cells: int64 (n,), in the grid. values: float32 (n, width). sums: float64 (N, width), what each picture adds to
    the answer of who does not look (`CellTask.sums`: of masks, pixels of each class). known: bool (N,), has a pixel that counts.
    """

    start: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    sums: npt.NDArray[np.float64]
    known: npt.NDArray[np.bool_]

    def of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Which of the n belong to some rows, in their order."""
        parts = [np.arange(self.start[row], self.start[row + 1]) for row in rows]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)


def draw(part: Part, name: str, task: CellTask, grid: Grid, each: int) -> Drawn:
    """At most so many cells of each picture of a split, by chance but always the same ones.

    Raises DataError for targets that cannot be, and for a picture of which no pixel counts.
    """
    start, cells, values = [0], [], []
    sums, known = np.zeros((len(part.targets), task.width)), np.zeros(len(part.targets), bool)
    for row in range(len(part.targets)):
        target = np.asarray(part.targets.load(row))
        task.check(target, f"{name}, row {row}")
        check_size(target, part.images.size(row), f"{name}, row {row}")
        pooled, share = task.pooled(target, grid)
        of_row = task.sums(target)
        if isinstance(task, SegmentationCells):
            check_counts(of_row, f"{name}, row {row}")
        sums[row], known[row] = of_row, share.any()
        there = np.flatnonzero((share > 0) & (share >= task.least))
        if len(there) > each:
            there = np.sort(np.random.default_rng([row, each]).choice(there, each, replace=False))
        start.append(start[-1] + len(there))
        cells.append(there)
        values.append(pooled[there])
    return Drawn(np.array(start), np.concatenate(cells), np.concatenate(values), sums, known)


def on_grid(maps: list[Tensor], grid: Grid) -> Tensor:
    """(B, D, h, w): all levels on one grid, coarser ones enlarged bilinearly."""
    levels = [
        level if level.shape[2:] == grid else interpolate(level, grid, mode="bilinear", align_corners=False)
        for level in maps
    ]
    return torch.cat(levels, dim=1)


def batches(maps: Maps) -> Iterator[range]:
    """Places of pictures that are taken together."""
    return (range(start, min(start + AT_ONCE, len(maps))) for start in range(0, len(maps), AT_ONCE))


@dataclass(frozen=True)
class Scale:
    """What features are divided by. mean: what is taken off first, so that the penalty does not see where they lie."""

    mean: Tensor
    deviation: Tensor


class FeatureRows:
    """Features float32 (n, D) of drawn cells, in memory or in a temporary file that goes with the block.

    x: a tensor, or an array mapped from the file. values: float32 (n, width).
    """

    def __init__(self, files: ExitStack, folder: Path | None, maps: Maps, drawn: Drawn, last: int, grid: Grid) -> None:
        chosen = drawn.of(maps.rows)
        self.values = drawn.values[chosen]
        width = sum(channels for channels, _, _ in maps.levels[-last:])
        self.x = _empty(files, folder, len(chosen), width)
        done = 0
        for places in batches(maps):
            found = on_grid(maps.take(slice(places.start, places.stop))[-last:], grid)
            spans = [(drawn.start[row], drawn.start[row + 1]) for row in maps.rows[places.start : places.stop]]
            picture = np.repeat(np.arange(len(spans)), [stop - start for start, stop in spans])
            cell = np.concatenate([drawn.cells[start:stop] for start, stop in spans])
            rows = found.flatten(2).permute(0, 2, 1)[torch.from_numpy(picture), torch.from_numpy(cell)]
            _put(self.x, done, rows)
            done += len(rows)

    def scale(self, levels: list[int], *, by_channel: bool) -> Scale:
        """Mean of each column, and the deviation of each, or one for each level of so many channels."""
        total, squares = (torch.zeros(self.x.shape[1], dtype=torch.float64) for _ in range(2))
        # About the first rows' mean, so that squares lose little.
        shift = _read(self.x, slice(0, 1024)).double().mean(0)
        for rows in self._chunks():
            moved = _read(self.x, rows).double() - shift
            total += moved.sum(0)
            squares += moved.square().sum(0)
        mean = total / len(self.x)
        variance = (squares / len(self.x) - mean.square()).clamp_min(0)
        typical = torch.cat([part.mean().expand(len(part)) for part in torch.split(variance, levels)])
        # A level that never varies stays as it is: zeros.
        typical = torch.where(typical > 0, typical, 1.0)
        deviation = (variance + _EPSILON * typical if by_channel else typical).sqrt()
        return Scale((mean + shift).float(), deviation.float())

    def divide(self, scale: Scale) -> None:
        """Take the mean off and divide by the deviation, in place."""
        for rows in self._chunks():
            _put(self.x, rows.start, (_read(self.x, rows) - scale.mean) / scale.deviation)

    def _chunks(self) -> Iterator[slice]:
        step = max(1, (64 << 20) // (4 * self.x.shape[1]))
        return (slice(start, min(start + step, len(self.x))) for start in range(0, len(self.x), step))


def _empty(files: ExitStack, folder: Path | None, count: int, width: int) -> Any:
    if 4 * count * width <= _IN_MEMORY:
        return torch.empty(count, width)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    path = Path(files.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="rows-"))) / "x"
    return np.memmap(path, dtype=np.float32, mode="w+", shape=(count, width))


def _read(x: Any, rows: slice) -> Tensor:
    return x[rows] if isinstance(x, Tensor) else torch.from_numpy(np.array(x[rows]))


def _put(x: Any, start: int, rows: Tensor) -> None:
    rows = rows.cpu()
    x[start : start + len(rows)] = rows if isinstance(x, Tensor) else rows.numpy()
