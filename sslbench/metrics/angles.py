"""Scores of surface normals: the angles between predicted and true directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.dense import DenseScores, check_map
from sslbench.metrics.resampling import Pooled, Scale, resample_counts
from sslbench.metrics.sparse_counts import SparseCounts

LIMITS = (11.25, 22.5, 30.0)
"""Degrees below which an angle counts as small (Fouhey et al., "Data-Driven 3D Primitives", 2013)."""

_BINS = 100  # a degree
_PIECE = 2**14  # pixels
_CELLS = 180 * _BINS + 1
_DEGREES = Scale("degrees", higher_is_better=False, limits=(0.0, 180.0))


class Angles(DenseScores):
    """Scores of the angles at all pixels that count of all pictures together.

    `mean_angle` and `median_angle`: degrees, lower is better. `within_11.25`, `within_22.5`, `within_30`: percent of the angles
    that are smaller than so many degrees.

    The median comes from a histogram in bins of 0.01 degrees around whole hundredths, linearly interpolated, and is off by 0.01
    degrees at most. A picture's histogram takes 6 bytes a filled bin, 108 kB at most.

    truth: real numbers (H, W, 3), of any length; pixels of length 0 have no normal and do not count. predicted: real numbers
    (H, W, 3), of any length but 0 where the truth counts.
    """

    main: ClassVar[str] = "mean_angle"

    def __init__(self) -> None:
        super().__init__()
        # Of each picture: sum of angles, pixels, and how many angles are below each limit.
        self._sums: list[list[float]] = []
        self._histograms = SparseCounts(_CELLS)

    def _count(self, truth: NDArray[Any], predicted: NDArray[Any]) -> tuple[int, float]:
        angles = angles_between(truth, predicted)
        below = [int((angles < limit).sum()) for limit in LIMITS]
        total = float(angles.sum())
        self._sums.append([total, len(angles), *below])
        bins = np.rint(angles * _BINS).astype(np.intp)
        self._histograms.add(np.bincount(bins, minlength=_CELLS))
        return len(angles), total / max(len(angles), 1)

    def _parts(self) -> Mapping[str, Pooled]:
        sums = np.array(self._sums)
        parts = {
            "mean_angle": Pooled(sums[:, :2], _ratio, _DEGREES),
            "median_angle": self._median(),
        }
        for number, limit in enumerate(LIMITS):
            parts[f"within_{limit:g}"] = Pooled(sums[:, [2 + number, 1]], _percent, Scale())
        return parts

    def _median(self) -> Pooled:
        """The median as a figure of sums: of the bins that can hold it in some resample, and what lies on either side."""
        every = np.arange(_CELLS)
        degrees = self._histograms.grouped(every // _BINS, _CELLS // _BINS + 1)
        sums = resample_counts(len(degrees)).T @ degrees
        middles = [place[0] for row in sums if row.any() for place in _middle(row)]
        first, last = min(middles) * _BINS, min(max(middles) * _BINS + _BINS, _CELLS)
        window = self._histograms.grouped(np.clip(every - first + 1, 0, last - first + 1), last - first + 2)

        def median(sums: NDArray[np.float64]) -> float:
            if not sums.any():
                return np.nan
            places = [first - 1 + cell - 0.5 + part for cell, part in _middle(sums)]
            return float(np.clip(np.mean(places) / _BINS, 0, 180))

        return Pooled(window, median, _DEGREES)

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        return {"angle_sums": np.array(self._sums)}


def angles_between(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.float64]:
    """Degrees between two maps of vectors (H, W, 3) at the pixels whose truth is not 0, in the order of the rows (M,).

    Raises:
        ValueError: other shapes or kinds, a truth that is not finite, or a prediction without a direction where there is a truth.
    """
    for name, values in (("truth", truth), ("predicted", predicted)):
        check_map(values, name, "f", channels=3)
    pairs = truth.reshape(-1, 3), predicted.reshape(-1, 3)
    # Pieces that stay in the processor's cache take half the time.
    pieces = range(0, len(pairs[0]), _PIECE)
    return np.concatenate([_angles(*(values[at : at + _PIECE] for values in pairs)) for at in pieces])


def _angles(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.float64]:
    """Of vectors (M, 3)."""
    # Sums over rows of three are slow, and sums of three columns are not.
    counted = (truth[:, 0] != 0) | (truth[:, 1] != 0) | (truth[:, 2] != 0)
    there, found = ([values[:, axis][counted].astype(np.float64) for axis in range(3)] for values in (truth, predicted))
    lengths, own = np.sqrt(_product(found, found)), np.sqrt(_product(there, there))
    # nan is not 0, so that it is among those that count.
    if not np.isfinite(own).all():
        raise ValueError("truth: expected finite vectors, and 0 where there is none, got nan or inf")
    if odd := np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0))).tolist():
        vector = [float(column[odd[0]]) for column in found]
        raise ValueError(f"predicted: expected finite vectors longer than 0 where there is a truth, got {vector}")
    cosines = _product(there, found) / (own * lengths)
    degrees: NDArray[np.float64] = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    return degrees


def _product(one: list[NDArray[np.float64]], other: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Scalar products (M,) of vectors given as three columns (M,)."""
    product = one[0] * other[0]
    for axis in (1, 2):
        product += one[axis] * other[axis]
    return product


def _middle(counts: NDArray[np.float64]) -> list[tuple[int, float]]:
    """The two items in the middle, or twice the one: its cell, and its place within the cell, from 0 to 1."""
    reached = np.cumsum(counts)
    total, places = int(reached[-1]), []
    for item in ((total - 1) // 2, total // 2):
        cell = int(np.searchsorted(reached, item, side="right"))
        places.append((cell, float((item - (reached[cell] - counts[cell]) + 0.5) / counts[cell])))
    return places


def _ratio(sums: NDArray[np.float64]) -> float:
    return float(sums[0] / sums[1]) if sums[1] else np.nan


def _percent(sums: NDArray[np.float64]) -> float:
    return 100 * _ratio(sums)
