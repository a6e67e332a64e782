"""The metric of multi-label classification in PASCAL VOC 2007: every test item has any number of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.resampling import RESAMPLES, mean_over_classes, ties
from sslbench.metrics.score import Score


def voc_map11(scores: NDArray[Any], targets: NDArray[Any], *, resamples: int = RESAMPLES) -> Score:
    """Mean average precision in percent, 11-point interpolated as in PASCAL VOC 2007; ``n`` counts items.

    For each class, AP = mean over t in np.linspace(0, 1, 11) of the largest precision at recall >= t (Everingham et
    al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 88 (2010) 303-338); the value is the
    mean AP over the classes. Two details follow the official code of Ericsson, Gouk and Hospedales, "How Well Do
    Self-Supervised Models Transfer?" (CVPR 2021), which reads the curve from scikit-learn's precision_recall_curve:
    the curve has the extra point (recall 0, precision 1), so the precision at t = 0 is always 1 and AP >= 1/11; and
    the thresholds are the floats of np.linspace, so a recall of 3/10 does not reach t = 0.30000000000000004. Items
    with equal scores enter the curve together.

    Arguments, standard error, interval and errors are those of `mean_over_classes`. Percentiles of the bootstrap would have
    another fault here: the largest precision in a resample is biased upwards, which would shift them off the value.
    """
    return voc_map11_resampled(scores, targets, resamples=resamples)[0]


def voc_map11_resampled(
    scores: NDArray[Any], targets: NDArray[Any], *, resamples: int = RESAMPLES
) -> tuple[Score, NDArray[np.float64]]:
    """`voc_map11`, and its value on each of the bootstrap resamples of the items, (resamples,), in percent."""
    return mean_over_classes(scores, targets, _average_precisions, resamples=resamples)


def _average_precisions(
    scores: NDArray[Any], positive: NDArray[np.bool_], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """11-point AP of one class, once per column of ``counts`` (N, R), how often each item occurs; (R,).

    nan where no positive occurs.
    """
    hits, seen, positives = ties(scores, positive, counts)
    # Recall rises only at ties that hold a positive; between those, precision falls, so no other point can be largest.
    rising = positives > 0
    hits, seen = np.cumsum(hits[rising], axis=0), np.cumsum(seen, axis=0)[rising]

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
