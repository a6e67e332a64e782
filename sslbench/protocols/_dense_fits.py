"""What a dense probe has learned: values for the cells of a grid from frozen maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from sslbench.errors import DataError
from sslbench.logistic import Start, softmax_path
from sslbench.logistic.least_squares import least_squares_path
from sslbench.protocols._dense_cells import CellTask, Grid, SegmentationCells
from sslbench.protocols._dense_rows import FeatureRows, Scale, on_grid
from sslbench.protocols.knn import NEIGHBOURS, TEMPERATURE, largest

# Times the number of rows, for features of unit variance in the mean; the strongest first. Scores of trained networks are flat
# from 1e-6 on, those of untrained transformers, whose features hardly vary, are not.
PENALTIES = (1e-1, 1e-3, 1e-5, 1e-7)
# The relative gap to the optimum that is certified. A tighter one takes twice as long and moved no overlap by a tenth of a point.
TOLERANCE = 1e-2
# Similarities of so many numbers are held at a time.
_SIMILARITIES = 1 << 25


class Fit(ABC):
    """From the maps of some pictures to values (B, width, h, w) on a grid."""

    @abstractmethod
    def values(self, maps: list[Tensor]) -> Tensor:
        """maps: of all levels, as `Maps.take` gives them."""


@dataclass(frozen=True)
class LinearFit(Fit):
    """A 1 x 1 convolution of the used levels, brought to one grid.

    coef: float32 (width, D), intercept: (width,), for features as they are. last: how many levels, from the coarsest.
    """

    coef: Tensor
    intercept: Tensor
    last: int
    grid: Grid

    def values(self, maps: list[Tensor]) -> Tensor:
        """The layer acts on each level as it is, which is far smaller: enlarging it afterwards gives the same."""
        used = maps[-self.last :]
        total = self.intercept.view(1, -1, 1, 1)
        for part, level in zip(torch.split(self.coef, [level.shape[1] for level in used], dim=1), used, strict=True):
            own = torch.einsum("kc,bchw->bkhw", part, level)
            fits = own.shape[2:] == self.grid
            total = total + (own if fits else interpolate(own, self.grid, mode="bilinear", align_corners=False))
        return total


class NeighboursFit(Fit):
    """The mean of what is true of the 20 nearest cells, by cosine similarity, weighted by its softmax at 0.07.

    As the knn protocol, of cells instead of pictures. bank: (n, D), divided by the scale. values: (n, width).
    """

    def __init__(self, bank: Sequence[Tensor], values: Sequence[Any], scale: Scale, last: int, grid: Grid) -> None:
        device = scale.mean.device
        self._bank = normalize(torch.cat([torch.as_tensor(part) for part in bank]).to(device))
        self._values = torch.cat([torch.as_tensor(part) for part in values]).to(device)
        self._scale, self._last, self._grid = scale, last, grid

    def values(self, maps: list[Tensor]) -> Tensor:
        """Shares of the votes."""
        found = on_grid(maps[-self._last :], self._grid)
        rows = found.permute(0, 2, 3, 1).flatten(0, 2)
        rows = normalize((rows - self._scale.mean) / self._scale.deviation)
        step = max(1, _SIMILARITIES // len(self._bank))
        votes = torch.cat([self._vote(part) for part in torch.split(rows, step)])
        return votes.view(len(found), *self._grid, -1).permute(0, 3, 1, 2)

    def _vote(self, queries: Tensor) -> Tensor:
        similarity, nearest = largest(queries @ self._bank.T, NEIGHBOURS)
        weights = torch.softmax(similarity / TEMPERATURE, dim=1)
        return torch.einsum("qn,qnk->qk", weights, self._values[nearest])


@dataclass(frozen=True)
class LinearPath:
    """Layers for several penalties, in the coordinates of the divided features."""

    coef: Tensor
    intercept: Tensor
    told: Mapping[str, Any]

    def fits(self, scale: Scale, last: int, grid: Grid) -> list[LinearFit]:
        """One for each penalty, for features as they are."""
        device = scale.mean.device
        coef = self.coef.to(device, torch.float64) / scale.deviation.double()
        intercept = self.intercept.to(device, torch.float64) - coef @ scale.mean.double()
        return [LinearFit(own.float(), shift.float(), last, grid) for own, shift in zip(coef, intercept, strict=True)]


def linear_path(
    task: CellTask,
    parts: Sequence[FeatureRows],
    strengths: Sequence[float],
    device: str,
    start: LinearPath | None = None,
) -> LinearPath:
    """Layers for penalties that are so many times the number of rows.

    Masks: multinomial logistic regression on the most frequent class of each cell, certified. Others: least squares, in closed
    form. start: a solution to begin from, of one penalty.
    """
    count = sum(len(part.values) for part in parts)
    x, penalties = [part.x for part in parts], [count * strength for strength in strengths]
    values = torch.cat([torch.from_numpy(part.values) for part in parts])
    if not isinstance(task, SegmentationCells):
        solved = least_squares_path(x, values, penalties, device=device)
        return LinearPath(solved.coef, solved.intercept, {})
    labels = values.argmax(dim=1)
    if len(torch.unique(labels)) < 2:
        raise DataError(
            "every cell that is learned from shows most of one class; choose a finer grid (grid=N) or more cells (cells=N)"
        )
    begun = None if start is None else Start(start.coef[0], start.intercept[0], penalties[0])
    path = softmax_path(x, labels, penalties, num_classes=task.width, tol=TOLERANCE, device=device, start=begun)
    # A class that no drawn cell has most of is never the answer; minus infinity could not be enlarged.
    lowest = path.intercept.masked_fill(path.intercept.isinf(), torch.inf).amin(dim=1, keepdim=True)
    return LinearPath(
        path.coef,
        path.intercept.maximum(lowest - 100),
        {
            "gap": float(path.gap.max()),
            "tolerance": TOLERANCE,
            "unconverged": int((~path.converged).sum()),
        },
    )
