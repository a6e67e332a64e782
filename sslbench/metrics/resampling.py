"""Scores whose uncertainty comes from resamples of the test items, the same for every backbone.

The one mechanism for what is no mean of right and wrong: ranking, overlap of masks, angles. The differences of two backbones on
the same resamples are a paired bootstrap (`sslbench.results.statistics.paired_resamples`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.classification import finite_rows
from sslbench.metrics.score import Z95, Score

RESAMPLES = 200
_SEED = 2007

PerClass = Callable[[NDArray[Any], NDArray[np.bool_], NDArray[np.int64]], NDArray[np.float64]]
"""scores (N,), positive (N,) and counts (N, R), how often each item occurs, to a fraction for each column of counts (R,);
nan where it is undefined."""


@dataclass(frozen=True)
class Scale:
    """What numbers a score can have. limits: the least and the largest possible, at which its interval is clipped."""

    unit: str = "%"
    higher_is_better: bool = True
    limits: tuple[float, float] = (0.0, 100.0)


def resample_counts(n: int, resamples: int = RESAMPLES) -> NDArray[np.int64]:
    """(n, 1 + resamples), how often each item occurs in each bootstrap resample.

    Column 0 counts every item once: the sample itself, on the same path as its resamples. The draws depend on n and on the
    number of resamples alone.
    """
    counts = np.ones((n, 1 + resamples), dtype=np.int64)
    counts[:, 1:] = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=resamples).T
    return counts


@dataclass(frozen=True)
class Pooled:
    """A figure of sums over the test items.

    statistics: (N, ...), what each item adds to the sums. figure: from the sums to the score in the unit of `scale`; nan where
    it is undefined. scale: unit, direction and limits.
    """

    statistics: NDArray[Any]
    figure: Callable[[NDArray[np.float64]], float]
    scale: Scale


def pooled_score(
    statistics: NDArray[Any],
    figure: Callable[[NDArray[np.float64]], float],
    scale: Scale,
    *,
    resamples: int = RESAMPLES,
) -> tuple[Score, NDArray[np.float64]]:
    """A figure of sums over the test items, and its value on each bootstrap resample, (resamples,).

    A resample costs one weighted sum of the items' statistics and one call of `figure`, whatever an item is: a picture's
    confusion matrix for the mean overlap, a picture's sum of angles and number of pixels for their mean. Standard error and
    interval are as for `mean_over_classes`; a resample on which the figure is nan is left out of them.

    Args:
        statistics: (N, ...), what each item adds to the sums.
        figure: from the sums to the score in the unit of `scale`; nan where it is undefined.
        scale: unit, direction and limits.

    Raises:
        ValueError: no item, statistics that are not finite, or a figure that is undefined on all items together.
    """
    return pooled_scores({"": Pooled(statistics, figure, scale)}, resamples=resamples)[""]


def pooled_scores(
    parts: Mapping[str, Pooled], *, resamples: int = RESAMPLES
) -> dict[str, tuple[Score, NDArray[np.float64]]]:
    """`pooled_score` of several figures of the same N items, by name: the resamples are drawn once for all of them.

    Raises:
        ValueError: as `pooled_score`, or figures of different numbers of items.
    """
    flat = {name: _flat(part.statistics) for name, part in parts.items()}
    if len(sizes := sorted({len(rows) for rows in flat.values()})) != 1:
        raise ValueError(f"parts: expected statistics of the same items, got {sizes} of them")
    n = sizes[0]
    counts = resample_counts(n, resamples).T.astype(np.float64)
    found = {}
    for name, part in parts.items():
        sums = (counts @ flat[name]).reshape(-1, *np.shape(part.statistics)[1:])
        figures = np.array([part.figure(total) for total in sums])
        if np.isnan(figures[0]):
            raise ValueError("the score is undefined on these items: nothing in them can be counted")
        found[name] = resampled_score(float(figures[0]), figures[1:], n, part.scale)
    return found


def _flat(statistics: NDArray[Any]) -> NDArray[np.float64]:
    statistics = np.asarray(statistics)
    if not statistics.size:
        raise ValueError(f"statistics: expected (N, ...) with at least one item, got {statistics.shape}")
    flat = statistics.reshape(len(statistics), -1).astype(np.float64, copy=False)
    bad = np.flatnonzero(~np.isfinite(flat).all(axis=1))
    if bad.size:
        raise ValueError(f"statistics: expected finite numbers, got nan or inf in {bad.size} items, first in {bad[0]}")
    return flat


def resampled_score(
    value: float, resampled: NDArray[np.float64], n: int, scale: Scale
) -> tuple[Score, NDArray[np.float64]]:
    """A Score from its value and its values on resamples (R,), which come back with it.

    n: items. A single one, or fewer than two resamples that are not nan, tell no standard error; then it and ``ci95`` are nan.
    """
    defined = resampled[~np.isnan(resampled)]
    if len(defined) < 2 or n < 2:
        return Score(value, math.nan, (math.nan, math.nan), n, scale.unit, scale.higher_is_better), resampled
    stderr = float(defined.std(ddof=1))
    low, high = scale.limits
    ci95 = max(low, value - Z95 * stderr), min(high, value + Z95 * stderr)
    return Score(value, stderr, ci95, n, scale.unit, scale.higher_is_better), resampled


def mean_over_classes(
    scores: NDArray[Any], targets: NDArray[Any], per_class: PerClass, *, resamples: int, both_sides: bool = False
) -> tuple[Score, NDArray[np.float64]]:
    """The mean of a figure over the classes, and its value on each bootstrap resample of the items, (resamples,), in percent.

    The resamples are seeded and depend on the number of items alone, so those of two score matrices are of the same
    items, and their differences are a paired bootstrap. A class for which the figure is undefined in a resample is left out
    of that resample's mean, which is nan if no class is left.

    The standard error is the standard deviation over the resamples. ``ci95`` is value +- 1.96 stderr, clipped to [0, 100], and
    not the bootstrap percentiles: 200 resamples suffice for a standard error but not for the 2.5 % and 97.5 % points (Efron
    and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 19).

    Args:
        scores: (N, K) real decision values; only their order within a class counts.
        targets: (N, K) of 1 (present), 0 (absent) and -1 (ignored: the item is left out of that class alone), or bool.
        per_class: the figure.
        resamples: with 0, which spares nearly all of the time, the standard error and ``ci95`` are nan.
        both_sides: whether the figure needs negatives as well as positives.

    Raises:
        ValueError: empty input, wrong shapes, a score that is not finite, a target other than 1, 0 and -1, or a class for
            which the figure is undefined.
    """
    scores, targets = finite_rows(scores, "scores"), np.asarray(targets)
    n, k = scores.shape
    if targets.shape != (n, k):
        raise ValueError(f"targets: expected shape ({n}, {k}), that of scores, got {targets.shape}")
    bad = np.flatnonzero(~np.isin(targets, (-1, 0, 1)).all(axis=1))
    if bad.size:
        raise ValueError(f"targets: expected only 1, 0 and -1, got {targets[bad[0]].tolist()} at row {bad[0]}")
    positive, judged = targets == 1, targets != -1
    for side, there in (("positive", positive), ("negative", targets == 0))[: 2 if both_sides else 1]:
        without = np.flatnonzero(~there.any(axis=0))
        if without.size:
            raise ValueError(f"targets: expected a {side} item in every class, got none in classes {without.tolist()}")

    counts = resample_counts(n, resamples)
    figures = np.stack([per_class(scores[kept, c], positive[kept, c], counts[kept]) for c, kept in enumerate(judged.T)])

    resampled = figures[:, 1:]
    defined = (~np.isnan(resampled)).sum(axis=0)
    sums = np.nansum(resampled, axis=0)
    means = 100 * np.divide(sums, defined, out=np.full(resamples, np.nan), where=defined > 0)
    return resampled_score(100 * float(figures[:, 0].mean()), means, n, Scale())


def ties(
    scores: NDArray[Any], positive: NDArray[np.bool_], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Groups of equal scores, the highest first: occurrences of positives and of all items in each, (G, R) of counts (N, R).

    The third array, (G,), has the positives of each group in the sample itself.
    """
    order = np.argsort(scores)[::-1]
    ranked, positive, counts = scores[order], positive[order], counts[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    hits = np.add.reduceat(counts * positive[:, None], starts, axis=0)
    seen = np.add.reduceat(counts, starts, axis=0)
    return hits, seen, np.add.reduceat(positive, starts, dtype=np.int64)
