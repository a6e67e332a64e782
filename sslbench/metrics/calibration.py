"""Metrics of how well the probabilities of a single-label classifier tell how often it is right.

Probabilities are the softmax of the decision values, in float64. The calibration errors compare, bin by bin of the confidence
(the largest probability of an item), the mean confidence with the accuracy: Pakdaman Naeini, Cooper and Hauskrecht,
"Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015; Guo, Pleiss, Sun and Weinberger, "On Calibration of
Modern Neural Networks", ICML 2017.

**They are biased upwards on finite samples**: a bin's accuracy differs from its confidence by chance alone, and the absolute
value adds these differences up instead of averaging them out. A perfectly calibrated classifier has an error of about
sqrt(2 / pi) sum_b sqrt(N_b p_b (1 - p_b)) / N, which falls with the root of N. So errors are to be compared on the same items
only; the maximum over bins has the largest bias.

Standard errors and intervals are those of `sslbench.metrics.resampling`: 200 bootstrap resamples, which depend on N alone. The
bins, and any temperature, are those of the sample itself and held over the resamples. The interval does not correct the bias.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.classification import correct
from sslbench.metrics.resampling import RESAMPLES, Pooled, Scale, pooled_scores
from sslbench.metrics.score import Score

BINS = 15
_EDGES = np.linspace(0, 1, BINS + 1)

PERCENT = Scale("%", higher_is_better=False)
_NATS = Scale("nats", higher_is_better=False, limits=(0.0, math.inf))
_SQUARES = Scale("", higher_is_better=False, limits=(0.0, 2.0))


def expected_calibration_error(
    decision: NDArray[Any], targets: NDArray[np.integer[Any]], *, resamples: int = RESAMPLES
) -> Score:
    """Expected calibration error (ECE) in percent, lower is better: sum_b N_b / N |accuracy_b - mean confidence_b|.

    The 15 bins have equal width on [0, 1]; each holds its lower edge, the last one both, so that a confidence of 1 is in it.
    Biased upwards, see the module.

    Args:
        decision: (N, K) real decision values, of which the softmax is taken.
        targets: (N,) integer classes in [0, K).
        resamples: for the standard error; with 0 it and ``ci95`` are nan.

    Raises:
        ValueError: as `sslbench.metrics.classification.correct`.
    """
    confidence, right = confidences(decision, targets)
    part = binned_error(confidence, right, equal_width_bins(confidence))
    return pooled_scores({"": part}, resamples=resamples)[""][0]


def adaptive_calibration_error(
    decision: NDArray[Any], targets: NDArray[np.integer[Any]], *, resamples: int = RESAMPLES
) -> Score:
    """Adaptive calibration error in percent, lower is better: as the expected one, but with 15 bins of equal mass.

    The edges are the quantiles of the confidences, a bin holds its upper one (as in scikit-learn's `calibration_curve` with
    `strategy="quantile"`), and equal confidences share a bin, so that bins have unequal mass where many items tie. Source: Nguyen
    and O'Connor, "Posterior calibration and exploratory analysis for natural language processing models", EMNLP 2015. Arguments
    and errors are those of `expected_calibration_error`, and so is the bias.
    """
    confidence, right = confidences(decision, targets)
    part = binned_error(confidence, right, equal_mass_bins(confidence))
    return pooled_scores({"": part}, resamples=resamples)[""][0]


def maximum_calibration_error(
    decision: NDArray[Any], targets: NDArray[np.integer[Any]], *, resamples: int = RESAMPLES
) -> Score:
    """Maximum calibration error (MCE) in percent, lower is better: the largest |accuracy_b - mean confidence_b|.

    Over the bins of the expected one that hold an item; a bin with few of them can decide it. Arguments and errors are those of
    `expected_calibration_error`.
    """
    part = binned_maximum(*confidences(decision, targets))
    return pooled_scores({"": part}, resamples=resamples)[""][0]


def brier_score(decision: NDArray[Any], targets: NDArray[np.integer[Any]], *, resamples: int = RESAMPLES) -> Score:
    """Brier score in [0, 2], lower is better: the mean over items of sum_k (p_k - [k is the class])^2.

    A proper score: it tells of accuracy and calibration at once, and has no bins and no bias. Source: Brier, "Verification of
    forecasts expressed in terms of probability", Monthly Weather Review 78 (1950) 1-3. Arguments and errors are those of
    `expected_calibration_error`.
    """
    return pooled_scores({"": squares(decision, targets)}, resamples=resamples)[""][0]


def negative_log_likelihood(
    decision: NDArray[Any], targets: NDArray[np.integer[Any]], *, resamples: int = RESAMPLES
) -> Score:
    """Negative log-likelihood in nats, lower is better: the mean over items of -log p of the class.

    A proper score, like the Brier score; one confident mistake can weigh as much as hundreds of other items. Arguments and errors
    are those of `expected_calibration_error`.
    """
    return pooled_scores({"": surprise(decision, targets)}, resamples=resamples)[""][0]


def reliability_table(decision: NDArray[Any], targets: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """(15, 4), a row a bin of `expected_calibration_error`: lower edge, items, mean confidence, accuracy (both in [0, 1]).

    The last two are nan in an empty bin. Arguments and errors are those of `expected_calibration_error`.
    """
    confidence, right = confidences(decision, targets)
    places = equal_width_bins(confidence)
    items, summed, hits = (
        np.bincount(places, weights=weights, minlength=BINS) for weights in (None, confidence, right.astype(np.float64))
    )
    with np.errstate(invalid="ignore"):
        return np.stack([_EDGES[:-1], items, summed / items, hits / items], axis=1)


def shifted(decision: NDArray[Any]) -> NDArray[np.float64]:
    """The decision values in float64 minus each item's largest one, on which no probability depends; all are <= 0."""
    values = np.asarray(decision, dtype=np.float64)
    return np.asarray(values - values.max(axis=1, keepdims=True))


def confidences(
    decision: NDArray[Any], targets: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The largest probability of each item (N,), and whether its class is right (N,). Raises ValueError as `correct` does."""
    right = correct(decision, targets)
    return largest_probability(shifted(decision)), right


def largest_probability(values: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """(N,) of decision values (N, K) that are `shifted`, divided by a temperature: the largest term of the softmax is 1."""
    return np.asarray(1 / np.exp(values / temperature).sum(axis=1))


def equal_width_bins(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin (N,) of each confidence among 15 of equal width on [0, 1], which hold their lower edge; the last one holds 1."""
    return np.searchsorted(_EDGES[1:-1], confidence, side="right")


def equal_mass_bins(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin (N,) of each confidence among 15 that hold equally many, ties aside."""
    edges = np.quantile(confidence, _EDGES[1:-1])
    return np.searchsorted(edges, confidence, side="left")


def bin_sums(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: NDArray[np.intp]) -> NDArray[np.float64]:
    """What each item adds to its bin, (N, 2, 15): right minus confidence, and 1."""
    rows = np.arange(len(confidence))
    sums = np.zeros((len(confidence), 2, BINS))
    sums[rows, 0, bins] = right - confidence
    sums[rows, 1, bins] = 1
    return sums


def error_of(sums: NDArray[np.float64]) -> float:
    """The expected calibration error in percent from the sums (2, 15) of `bin_sums`; nan without an item."""
    items = sums[1].sum()
    return 100 * float(np.abs(sums[0]).sum() / items) if items else math.nan


def binned_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: NDArray[np.intp]) -> Pooled:
    """The expected calibration error of these bins as sums over items."""
    return Pooled(bin_sums(confidence, right, bins), error_of, PERCENT)


def binned_maximum(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Pooled:
    """The maximum calibration error as sums over items."""
    return Pooled(bin_sums(confidence, right, equal_width_bins(confidence)), _largest_gap, PERCENT)


def squares(decision: NDArray[Any], targets: NDArray[np.integer[Any]]) -> Pooled:
    """The Brier score as a sum over items. Raises ValueError as `correct` does."""
    correct(decision, targets)
    terms = np.exp(shifted(decision))
    probabilities = terms / terms.sum(axis=1, keepdims=True)
    probabilities[np.arange(len(targets)), targets] -= 1
    return _mean(np.einsum("nk,nk->n", probabilities, probabilities), _SQUARES)


def surprise(decision: NDArray[Any], targets: NDArray[np.integer[Any]]) -> Pooled:
    """The negative log-likelihood as a sum over items. Raises ValueError as `correct` does."""
    correct(decision, targets)
    values = shifted(decision)
    return _mean(np.log(np.exp(values).sum(axis=1)) - values[np.arange(len(targets)), targets], _NATS)


def _mean(values: NDArray[np.float64], scale: Scale) -> Pooled:
    # A resample has as many items as the sample.
    return Pooled(values, lambda total: float(total) / len(values), scale)


def _largest_gap(sums: NDArray[np.float64]) -> float:
    held = sums[1] > 0
    return 100 * float(np.abs(sums[0, held] / sums[1, held]).max())
