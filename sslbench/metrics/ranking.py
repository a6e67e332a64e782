"""Metrics of how well decision values rank the test items of a class before the others: ROC area and average precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.classification import correct
from sslbench.metrics.resampling import RESAMPLES, mean_over_classes, ties
from sslbench.metrics.score import Score

# Rows whose exponentials sum to 1 within this are log probabilities. The nearest-neighbour vote puts a floor of 1e-12 under a
# share of 0, so that its rows sum to 1 + 1e-10 at most for any number of classes in use.
_NORMALISED = 1e-6


def auroc(decision: NDArray[Any], targets: NDArray[Any], *, resamples: int = RESAMPLES) -> Score:
    """Area under the ROC curve in percent, one class against the rest, the mean over the classes; ``n`` counts items.

    The area is the share of pairs of a positive and a negative item in which the positive has the larger score, ties count
    half (Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143 (1982) 29-36). With two classes an item, it is that of class 1 alone, as usual; that of class 0 is the same.

    Where an item has one class, `class_scores` makes what is ranked from the decision values. Standard error, interval and
    errors are those of `mean_over_classes`.

    Args:
        decision: (N, K) real decision values.
        targets: (N,) integer classes in [0, K), or (N, K) of 1 (present), 0 (absent) and -1 (ignored for that class).
        resamples: for the standard error; with 0 it and ``ci95`` are nan.

    Raises:
        ValueError: as `correct` or `mean_over_classes` does, so for a class without a positive or without a negative item.
    """
    return auroc_resampled(decision, targets, resamples=resamples)[0]


def auroc_resampled(
    decision: NDArray[Any], targets: NDArray[Any], *, resamples: int = RESAMPLES
) -> tuple[Score, NDArray[np.float64]]:
    """`auroc`, and its value on each of the bootstrap resamples of the items, (resamples,), in percent."""
    scores, positive = one_against_rest(decision, targets)
    return mean_over_classes(scores, positive, _areas, resamples=resamples, both_sides=True)


def average_precision(decision: NDArray[Any], targets: NDArray[Any], *, resamples: int = RESAMPLES) -> Score:
    """Mean average precision in percent, the mean over the classes; ``n`` counts items.

    AP = sum over the distinct scores, the highest first, of precision times the rise of recall: no interpolation, and items
    with equal scores enter together, as in scikit-learn's average_precision_score. With two classes an item, it is that of
    class 1 alone. Arguments and errors are those of `auroc`, but for classes without a negative item, whose AP is 1.
    """
    return average_precision_resampled(decision, targets, resamples=resamples)[0]


def average_precision_resampled(
    decision: NDArray[Any], targets: NDArray[Any], *, resamples: int = RESAMPLES
) -> tuple[Score, NDArray[np.float64]]:
    """`average_precision`, and its value on each of the bootstrap resamples of the items, (resamples,), in percent."""
    scores, positive = one_against_rest(decision, targets)
    return mean_over_classes(scores, positive, _step_precisions, resamples=resamples)


def one_against_rest(decision: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores and targets (N, C) of 1 and 0, a column for each question "this class or not".

    Several labels an item are that already. Of one label an item, K classes give K columns, but two classes one: class 1.
    """
    decision, targets = np.asarray(decision), np.asarray(targets)
    if targets.ndim == 2:
        return decision, targets
    correct(decision, targets)  # for its errors
    scores = class_scores(decision)
    first = 1 if decision.shape[1] == 2 else 0
    return scores[:, first:], targets[:, None] == np.arange(first, decision.shape[1])


def class_scores(decision: NDArray[Any]) -> NDArray[np.float64]:
    """What ranks the items for each class where an item has one: the log odds of the class's softmax share, (N, K), K >= 2.

    Decision values are known up to a constant for each item, which the prediction does not see but a comparison between items
    would; the softmax does away with it, and the odds keep their digits where the share rounds to 1. Rows that are log
    probabilities already stay as they are, since the floor that a protocol puts under log 0 must not break ties.
    """
    values = np.asarray(decision, dtype=np.float64)
    total = np.logaddexp.reduce(values, axis=1, keepdims=True)
    if (np.abs(total) < _NORMALISED).all():
        return values
    rows, top = np.arange(len(values)), values.argmax(axis=1)
    others = values.copy()
    others[rows, top] = -np.inf
    # log(1 - share) through log1p loses all digits for a share near 1, which only the largest value can have.
    share = np.minimum(values - total, np.log(0.5))
    odds: NDArray[np.float64] = values - (total + np.log1p(-np.exp(share)))
    odds[rows, top] = values[rows, top] - np.logaddexp.reduce(others, axis=1)
    return odds


def _areas(scores: NDArray[Any], positive: NDArray[np.bool_], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """ROC area once per column of ``counts``; nan where no positive or no negative occurs."""
    hits, seen, _ = ties(scores, positive, counts)
    misses = seen - hits
    positives, negatives = hits.sum(axis=0), misses.sum(axis=0)
    below = negatives - np.cumsum(misses, axis=0)
    # In halves of a pair, so that the sum is exact.
    won = (hits * (2 * below + misses)).sum(axis=0)
    pairs = positives * negatives
    return _shares(won, 2 * pairs)


def _step_precisions(
    scores: NDArray[Any], positive: NDArray[np.bool_], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """AP once per column of ``counts``; nan where no positive occurs."""
    hits, seen, positives = ties(scores, positive, counts)
    rising = positives > 0
    rise, found, ranked = hits[rising], np.cumsum(hits, axis=0)[rising], np.cumsum(seen, axis=0)[rising]
    # Nothing seen yet is no rise either.
    precision = np.divide(found, ranked, out=np.zeros(found.shape), where=ranked > 0)
    total = found[-1]
    # Summed in the order of the ranks, so that the value does not depend on how many resamples are computed with it.
    gained = np.cumsum(rise * precision, axis=0)[-1]
    return _shares(gained, total)


def _shares(part: NDArray[Any], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    shares = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
