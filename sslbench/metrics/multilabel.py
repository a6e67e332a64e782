"""The metric of multi-label classification: every test item has any number of classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.classification import finite_rows
from sslbench.metrics.score import Z95, Score

RESAMPLES = 200
_SEED = 2007


def voc_map11(scores: NDArray[Any], targets: NDArray[Any], *, resamples: int = RESAMPLES) -> Score:
    """Mean average precision in percent, 11-point interpolated as in PASCAL VOC 2007; ``n`` counts items.

    For each class, AP = mean over t in np.linspace(0, 1, 11) of the largest precision at recall >= t (Everingham et
    al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 88 (2010) 303-338); the value is the
    mean AP over the classes. Two details follow the official code of Ericsson, Gouk and Hospedales, "How Well Do
    Self-Supervised Models Transfer?" (CVPR 2021), which reads the curve from scikit-learn's precision_recall_curve:
    the curve has the extra point (recall 0, precision 1), so the precision at t = 0 is always 1 and AP >= 1/11; and
    the thresholds are the floats of np.linspace, so a recall of 3/10 does not reach t = 0.30000000000000004. Items
    with equal scores enter the curve together.

    The standard error is the standard deviation over the 200 bootstrap resamples of `voc_map11_resampled`. ``ci95`` is
    value +- 1.96 stderr, clipped to [0, 100], and not the bootstrap percentiles: 200 resamples suffice for a standard
    error but not for the 2.5 % and 97.5 % points (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
    chapters 6 and 19), and the largest precision in a resample is biased upwards, which would shift percentiles
    off the value.

    Args:
        scores: (N, K) real decision values; only their order within a class counts.
        targets: (N, K) of 1 (present), 0 (absent) and -1 (ignored: the item is left out of that class alone), or bool.
        resamples: for the standard error; with 0, which spares nearly all of the time, it and ``ci95`` are nan.

    Raises:
        ValueError: empty input, wrong shapes, a score that is not finite, a target other than 1, 0 and -1, or a class
            without positives, whose AP is undefined.
    """
    return voc_map11_resampled(scores, targets, resamples=resamples)[0]


def voc_map11_resampled(
    scores: NDArray[Any], targets: NDArray[Any], *, resamples: int = RESAMPLES
) -> tuple[Score, NDArray[np.float64]]:
    """`voc_map11`, and its value on each of the bootstrap resamples of the items, (resamples,), in percent.

    The resamples are seeded and depend on the number of items alone, so those of two score matrices are of the same
    items, and their differences are a paired bootstrap. A class that has no positive in a resample is left out of that
    resample's mean, which is nan if no class has one. Arguments and errors are those of `voc_map11`.
    """
    scores, targets = finite_rows(scores, "scores"), np.asarray(targets)
    n, k = scores.shape
    if targets.shape != (n, k):
        raise ValueError(f"targets: expected shape ({n}, {k}), that of scores, got {targets.shape}")
    bad = np.flatnonzero(~np.isin(targets, (-1, 0, 1)).all(axis=1))
    if bad.size:
        raise ValueError(f"targets: expected only 1, 0 and -1, got {targets[bad[0]].tolist()} at row {bad[0]}")
    positive, judged = targets == 1, targets != -1
    without = np.flatnonzero(~positive.any(axis=0))
    if without.size:
        raise ValueError(f"targets: expected a positive item in every class, got none in classes {without.tolist()}")

    # Column 0 counts every item once: the sample itself, on the same path as its resamples.
    counts = np.ones((n, 1 + resamples), dtype=np.int64)
    counts[:, 1:] = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=resamples).T
    per_class = []
    for c, kept in enumerate(judged.T):
        per_class.append(_average_precisions(scores[kept, c], positive[kept, c], counts[kept]))
    aps = np.stack(per_class)

    resampled = aps[:, 1:]
    defined = (~np.isnan(resampled)).sum(axis=0)
    sums = np.nansum(resampled, axis=0)
    means = 100 * np.divide(sums, defined, out=np.full(resamples, np.nan), where=defined > 0)
    value = 100 * float(aps[:, 0].mean())
    stderr = float(means[defined > 0].std(ddof=1)) if resamples else math.nan
    ci95 = (max(0.0, value - Z95 * stderr), min(100.0, value + Z95 * stderr)) if resamples else (math.nan, math.nan)
    return Score(value, stderr, ci95, n=n), means


def _average_precisions(
    scores: NDArray[Any], positive: NDArray[np.bool_], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """11-point AP of one class, once per column of ``counts`` (N, R), how often each item occurs; (R,).

    nan where no positive occurs.
    """
    order = np.argsort(scores)[::-1]
    ranked, positive, counts = scores[order], positive[order], counts[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    # Recall rises only at ties that hold a positive; between those, precision falls, so no other point can be largest.
    rising = np.add.reduceat(positive, starts, dtype=np.int64) > 0
    hits = np.cumsum(np.add.reduceat(counts * positive[:, None], starts, axis=0)[rising], axis=0)
    seen = np.cumsum(np.add.reduceat(counts, starts, axis=0), axis=0)[rising]

    # 0/0 where a resample holds no positive, or none of the items seen so far; the latter reach no threshold.
    with np.errstate(invalid="ignore"):
        recall, precision = hits / hits[-1], hits / seen
    largest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    columns = np.arange(counts.shape[1])
    at_threshold = [np.ones(columns.size)]
    for threshold in np.linspace(0, 1, 11)[1:]:
        reached = recall >= threshold
        at_threshold.append(largest[reached.argmax(axis=0), columns])
    return np.where(hits[-1] > 0, np.mean(at_threshold, axis=0), np.nan)
