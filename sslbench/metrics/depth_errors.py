"""Scores of depth maps: how far predicted distances are from true ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.dense import DenseScores, check_map
from sslbench.metrics.resampling import Pooled, Scale

RATIOS = (1.25, 1.25**2, 1.25**3)
"""Below which the larger of predicted / true and true / predicted counts as small."""


class DepthErrors(DenseScores):
    """Scores at all pixels that count of all pictures together (Eigen et al., "Depth Map Prediction from a Single Image using a
    Multi-Scale Deep Network", 2014, section 4).

    `rmse`: root of the mean squared difference, metres. `abs_rel`: mean difference over the truth, percent. Of both lower is
    better. `delta_1`, `delta_2`, `delta_3`: percent of the pixels whose ratio, the larger way round, is smaller than 1.25, its
    square and its cube.

    truth: real numbers (H, W), metres; 0 where nothing is known, which does not count. predicted: real numbers (H, W), metres,
    above 0 where the truth counts.
    """

    main: ClassVar[str] = "rmse"

    def __init__(self) -> None:
        super().__init__()
        # Of each picture: pixels, sums of squares and of relative differences, and how many ratios are below each limit.
        self._sums: list[list[float]] = []

    def _count(self, truth: NDArray[Any], predicted: NDArray[Any]) -> tuple[int, float]:
        check_map(truth, "truth", "f")
        check_map(predicted, "predicted", "f")
        if odd := np.count_nonzero(~(np.isfinite(truth) & (truth >= 0))):
            raise ValueError(f"truth: expected metres, and 0 where nothing is known, got others at {odd} pixels")
        counted = truth > 0
        there, found = truth[counted].astype(np.float64), predicted[counted].astype(np.float64)
        if odd := np.count_nonzero(~(np.isfinite(found) & (found > 0))):
            raise ValueError(
                f"predicted: expected metres above 0 where there is a truth, got others at {odd} of {len(found)} pixels"
            )
        off = found - there
        squares, ratios = float(off @ off), np.maximum(found / there, there / found)
        below = [int((ratios < limit).sum()) for limit in RATIOS]
        self._sums.append([len(there), squares, float((np.abs(off) / there).sum()), *below])
        return len(there), math.sqrt(squares / max(len(there), 1))

    def _parts(self) -> Mapping[str, Pooled]:
        sums = np.array(self._sums)
        metres = Scale("m", higher_is_better=False, limits=(0.0, math.inf))
        relative = Scale("%", higher_is_better=False, limits=(0.0, math.inf))
        parts = {
            "rmse": Pooled(sums[:, [0, 1]], lambda pair: math.sqrt(_ratio(pair)), metres),
            "abs_rel": Pooled(sums[:, [0, 2]], _percent, relative),
        }
        for number in range(len(RATIOS)):
            parts[f"delta_{number + 1}"] = Pooled(sums[:, [0, 3 + number]], _percent, Scale())
        return parts

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        return {"depth_sums": np.array(self._sums)}


def _ratio(pair: NDArray[np.float64]) -> float:
    """From a number of pixels and a sum over them."""
    return float(pair[1] / pair[0]) if pair[0] else math.nan


def _percent(pair: NDArray[np.float64]) -> float:
    return 100 * _ratio(pair)
