"""Which pictures' maps are kept while a test set is scored, and how they are reduced."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.dense_kept import (
    HIGHER_IS_BETTER,
    KINDS,
    DenseSamples,
    KeptMaps,
    Kind,
    ignored_value,
    stored_dtype,
)

__all__ = ["DensePredictions", "DenseSamples", "KeptMaps"]

_DEPTH = float(np.finfo(np.float16).max)


class DensePredictions:
    """Takes the pictures one after the other; memory does not grow with their number but for a row and a figure of each.

    A third of what is kept are the worst pictures so far, a third the best, and a third lies evenly among all that have a
    figure. Reduced by the nearest pixel, so that no class and no direction is made up.

    Args:
        kind: what the maps are; of normals and depth a smaller figure is the better one.
        classes: names of the classes of masks; nothing else has any.
        ignore: the value of pixels of masks that count for nothing, if there are any.
        side: pixels of the longer side of what is kept.
        most: pictures that are kept.

    Raises:
        ValueError: another kind, masks without classes, or too small numbers.
    """

    def __init__(
        self, kind: Kind, classes: Sequence[str] = (), ignore: int | None = None, *, side: int = 160, most: int = 48
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        if (kind == "masks") != bool(classes):
            raise ValueError(f"classes: expected names for masks and none for others, got {len(classes)} for {kind}")
        if side < 1 or most < 3:
            raise ValueError(f"expected a side of at least 1 pixel and at least 3 pictures, got {side} and {most}")
        self.kind, self.classes, self.ignore, self.side = kind, tuple(classes), ignore, side
        self._rows: list[int] = []
        self._figures: list[float] = []
        self._maps: dict[int, KeptMaps] = {}
        self._with_figure = 0
        # Places: ends as (key, place), the worst and the best first; among equals the first that came.
        self._ends: tuple[list[tuple[float, int]], list[tuple[float, int]]] = ([], [])
        self._spaced: list[int] = []
        self._stride, self._share = 1, most // 3

    def add(self, row: int, truth: NDArray[Any], predicted: NDArray[Any], figure: float) -> None:
        """Take in one picture. row: in the test split. truth, predicted, figure: as of `DenseScores.add`.

        Raises:
            ValueError: maps of different shapes.
        """
        truth, predicted = np.asarray(truth), np.asarray(predicted)
        if truth.shape != predicted.shape:
            raise ValueError(
                f"predicted: expected the shape of the truth, {truth.shape}, got {predicted.shape}; bring predictions to the "
                "size of the truth first"
            )
        place = len(self._rows)
        self._rows.append(row)
        self._figures.append(figure)
        if np.isnan(figure):
            return
        if self._choose(place, figure):
            self._maps[place] = KeptMaps(
                place, (truth.shape[0], truth.shape[1]), self._reduced(truth, true=True), self._reduced(predicted)
            )
        wanted = {*self._spaced, *(end for ends in self._ends for _, end in ends)}
        self._maps = {at: maps for at, maps in self._maps.items() if at in wanted}

    def samples(self) -> DenseSamples:
        """What was kept so far."""
        return DenseSamples(
            self.kind,
            self.classes,
            np.array(self._rows, dtype=np.int64),
            np.array(self._figures, dtype=np.float32),
            tuple(self._maps[place] for place in sorted(self._maps)),
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """`samples` by the names under which they are stored; `DenseSamples.from_arrays` reads them."""
        return self.samples().to_arrays()

    def _choose(self, place: int, figure: float) -> bool:
        """Whether the picture is kept, for now."""
        good = figure if HIGHER_IS_BETTER[self.kind] else -figure
        for ends, key in zip(self._ends, (good, -good), strict=True):
            insort(ends, (key, place))
            del ends[self._share :]
        number, self._with_figure = self._with_figure, self._with_figure + 1
        if number % self._stride == 0:
            self._spaced.append(place)
            if len(self._spaced) > self._share:
                self._spaced, self._stride = self._spaced[::2], 2 * self._stride
        return place in self._spaced or any((key, place) in ends for ends in self._ends for key in (good, -good))

    def _reduced(self, values: NDArray[Any], *, true: bool = False) -> NDArray[Any]:
        dtype = stored_dtype(self.kind, len(self.classes))
        high, wide = values.shape[:2]
        scale = min(1.0, self.side / max(high, wide))
        rows, columns = (_nearest(side, max(1, round(side * scale))) for side in (high, wide))
        small: NDArray[Any] = values[rows[:, None], columns]
        if self.kind == "masks":
            small = small.astype(np.int64)
            if true and self.ignore is not None:
                small[small == self.ignore] = ignored_value(dtype)
            return small.astype(dtype)
        # What a network gives where nothing is true is asked by nobody, and may be anything.
        small = np.nan_to_num(small.astype(np.float64), posinf=0.0, neginf=0.0)
        if self.kind == "depth":
            small = np.clip(small, 0, _DEPTH)
        else:
            lengths = np.sqrt((small**2).sum(axis=2, keepdims=True))
            small = np.rint(np.divide(127 * small, lengths, out=np.zeros_like(small), where=lengths > 0))
        return small.astype(dtype)


def _nearest(full: int, kept: int) -> NDArray[np.intp]:
    """The pixels (kept,) at whose centres the smaller ones lie."""
    return ((np.arange(kept) + 0.5) * full / kept).astype(np.intp)
