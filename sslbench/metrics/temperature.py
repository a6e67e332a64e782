"""Temperature scaling: one number that makes all probabilities of a classifier softer or sharper, and no decision another one.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 4.2: probabilities are
softmax(decision / T), with the T > 0 that minimises the mean negative log-likelihood on items that were not learned from.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.calibration import (
    BINS,
    PERCENT,
    bin_sums,
    binned_error,
    equal_width_bins,
    error_of,
    largest_probability,
    shifted,
)
from sslbench.metrics.classification import correct
from sslbench.metrics.resampling import RESAMPLES, Pooled, pooled_scores
from sslbench.metrics.score import Score

FOLDS = 5
_SHUFFLE_SEED = 0

# How far T may lie from the scale of the decision values, either way: at the least every item has one probability of 1, at the
# largest all are equal, to all digits that a score shows.
_RANGE = math.log(1e4)


def fit_temperature(decision: NDArray[Any], targets: NDArray[np.integer[Any]]) -> float:
    """The temperature T that minimises the mean negative log-likelihood of softmax(decision / T).

    It is convex in w = 1/T, so that its derivative, the mean of E_p[decision] - decision of the class, has at most one zero,
    which is sought between brackets on log T in float64 (Brent, "Algorithms for Minimization without Derivatives", 1973,
    chapter 4). Where there is none the likelihood rises towards an end: T = 0 where every item is right, infinity where decisions
    are worse than none. Then T is that end of the range searched, 1e-4 or 1e4 times the mean distance of an item's largest
    decision value from its mean one. So T scales with the decision values; where they tell nothing at all it is 1.

    Args:
        decision: (N, K) real decision values.
        targets: (N,) integer classes in [0, K).

    Raises:
        ValueError: as `sslbench.metrics.classification.correct`.
    """
    correct(decision, targets)
    return _fit(shifted(decision), np.asarray(targets))


def _fit(values: NDArray[np.float64], targets: NDArray[np.integer[Any]]) -> float:
    from scipy.optimize import brentq

    scale = -float(values.mean())
    if scale == 0:
        return 1.0
    of_class = float(values[np.arange(len(targets)), targets].mean())

    def slope(log_t: float) -> float:
        terms = np.exp(values / (scale * math.exp(log_t)))
        return float((np.einsum("nk,nk->n", terms, values) / terms.sum(axis=1)).mean()) - of_class

    # The slope in 1/T: at a small T probabilities are too sharp where it is above 0.
    if slope(-_RANGE) <= 0:
        return scale * math.exp(-_RANGE)
    if slope(_RANGE) >= 0:
        return scale * math.exp(_RANGE)
    return scale * math.exp(brentq(slope, -_RANGE, _RANGE, xtol=1e-10))


def scaled_calibration_error(
    decision: NDArray[Any], targets: NDArray[np.integer[Any]], temperature: float, *, resamples: int = RESAMPLES
) -> Score:
    """The expected calibration error in percent of softmax(decision / temperature).

    Otherwise as `sslbench.metrics.calibration.expected_calibration_error`, bias included. The temperature is held over the
    resamples: the interval is of the test items alone.

    Raises:
        ValueError: as it does, or for a temperature that is not a positive number.
    """
    return pooled_scores({"": scaled(decision, targets, temperature)}, resamples=resamples)[""][0]


def scaled(decision: NDArray[Any], targets: NDArray[np.integer[Any]], temperature: float) -> Pooled:
    """`scaled_calibration_error` as sums over items."""
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: expected a positive number, got {temperature}")
    right = correct(decision, targets)
    confidence = largest_probability(shifted(decision), temperature)
    return binned_error(confidence, right, equal_width_bins(confidence))


def folds(n: int) -> NDArray[np.int64]:
    """The items of each of the five folds, (5, n // 5), as the study drew them; the remainder is in none.

    Its code shuffles the list of all indices by NumPy's legacy generator, seeded with 0, and takes folds of floor(n / 5) in turn.

    Raises:
        ValueError: fewer than 5 items.
    """
    if n < FOLDS:
        raise ValueError(f"expected at least {FOLDS} items for {FOLDS} folds, got {n}")
    shuffled = np.random.RandomState(_SHUFFLE_SEED).permutation(n)
    return shuffled[: n // FOLDS * FOLDS].reshape(FOLDS, -1).astype(np.int64)


def fold_scaled_calibration_error(
    decision: NDArray[Any], targets: NDArray[np.integer[Any]], *, resamples: int = RESAMPLES
) -> tuple[Score, list[float]]:
    """The expected calibration error in percent with temperatures fitted on folds of the test items, and these, one a fold.

    As in the official code of Ericsson, Gouk and Hospedales, "How Well Do Self-Supervised Models Transfer?" (CVPR 2021),
    temperature_scaling.py: for each of five `folds`, T is fitted on that fifth and the error taken on the other four, the reverse
    of usual cross-validation; the mean of the five. The temperatures have seen test labels. They are held over the
    resamples; ``n`` counts the items in a fold. The error is biased upwards like any, see `sslbench.metrics.calibration`.

    Raises:
        ValueError: as `expected_calibration_error`, or for fewer than 5 items.
    """
    part, temperatures = fold_scaled(decision, targets)
    score, _ = pooled_scores({"": part}, resamples=resamples)[""]
    return replace(score, n=folds(len(targets)).size), temperatures


def fold_scaled(decision: NDArray[Any], targets: NDArray[np.integer[Any]]) -> tuple[Pooled, list[float]]:
    """`fold_scaled_calibration_error` as sums over items, (N, 5, 2, 15), and the temperatures."""
    targets, right, values = np.asarray(targets), correct(decision, targets), shifted(decision)
    drawn = folds(len(targets))
    sums, temperatures = np.zeros((len(targets), FOLDS, 2, BINS)), []
    for number, fold in enumerate(drawn):
        temperatures.append(_fit(values[fold], targets[fold]))
        others = np.delete(drawn, number, axis=0).ravel()
        confidence = largest_probability(values[others], temperatures[-1])
        sums[others, number] = bin_sums(confidence, right[others], equal_width_bins(confidence))
    return Pooled(sums, lambda total: float(np.mean([error_of(part) for part in total])), PERCENT), temperatures
