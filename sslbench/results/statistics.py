"""Paired comparisons of two backbones on the same test items: is the new one worse than the base?

Every difference is new - base in the unit of the score, percentage points unless something else is said. ``p_worse`` is
one-sided, small when the data speak for "new is worse than base".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.classification import wilson_interval
from sslbench.metrics.score import Z95

_ROUNDING = 1e-9
"""Percentage points below which two means of the same items differ only by floating-point rounding."""


@dataclass(frozen=True)
class PairedComparison:
    """One backbone against another on ``n`` shared test items or episodes."""

    difference: float  # new - base, in the unit of the score
    ci95: tuple[float, float]
    p_worse: float  # one-sided: H1 "new is worse than base"
    p_two_sided: float
    n: int
    test: str  # "mcnemar-exact", "paired-t", "paired-bootstrap" or "paired-resamples"


def mcnemar(new_correct: NDArray[np.bool_], base_correct: NDArray[np.bool_]) -> PairedComparison:
    """Compare two accuracies on the same items by McNemar's exact test.

    Only the discordant items count: with b items that only new has right and c that only base has right, c is
    Binomial(b + c, 1/2) under equal accuracies (McNemar, "Note on the sampling error of the difference between
    correlated proportions or percentages", Psychometrika 12 (1947) 153-157; exact form in Fleiss, Levin and Paik,
    "Statistical Methods for Rates and Proportions", 3rd ed. 2003, section 13.1). p_worse = P(X >= c); p_two_sided is
    twice the smaller tail, at most 1. Both are 1 when no item is discordant.

    ``ci95`` is method 10 of Newcombe, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", Statistics in Medicine 17 (1998) 2635-2650: the Wilson limits of the two accuracies,
    squared and added with their correlation phi. It has a width even where no item is discordant. It is not the
    inverse of the exact test, so near p = 0.05 one can exclude equality while the other does not.

    Args:
        new_correct, base_correct: (N,) bool, the same items in the same order.

    Raises:
        ValueError: empty, different lengths, or not bool.
    """
    new, base = _hits(new_correct, "new_correct"), _hits(base_correct, "base_correct")
    _same_length(new, base, "new_correct", "base_correct")
    # The functions under scipy.stats' distributions, which check arguments a hundred times as long as they compute.
    from scipy.special import bdtr, bdtrc

    both = int(np.count_nonzero(new & base))
    only_new, only_base = int(np.count_nonzero(new)) - both, int(np.count_nonzero(base)) - both
    discordant = only_new + only_base
    neither = new.size - both - discordant
    p_worse = float(bdtrc(only_base - 1, discordant, 0.5))
    smaller_tail = float(bdtr(min(only_new, only_base), discordant, 0.5))
    return PairedComparison(
        difference=100 * (only_new - only_base) / new.size,
        ci95=_newcombe(both, only_new, only_base, neither),
        p_worse=p_worse,
        p_two_sided=min(1.0, 2 * smaller_tail),
        n=new.size,
        test="mcnemar-exact",
    )


def paired_t(new: NDArray[np.floating[Any]], base: NDArray[np.floating[Any]]) -> PairedComparison:
    """Compare two mean few-shot accuracies on the same episodes by the paired t-test.

    With d_i = new_i - base_i, mean m and standard deviation s (divisor n - 1), t = m / (s / sqrt(n)) has n - 1 degrees
    of freedom under H0; ci95 = m +- t_{0.975, n-1} s / sqrt(n) (Student, "The probable error of a mean", Biometrika 6
    (1908) 1-25). Where all d_i are equal the p-values take their limits: 1 for a difference of 0, otherwise
    p_two_sided = 0 and p_worse = 0 for a drop, 1 for a gain.

    Args:
        new, base: (E,) accuracies as fractions in [0, 1], the same episodes in the same order, E >= 2.

    Raises:
        ValueError: fewer than 2 episodes, different lengths, or an accuracy that is nan or outside [0, 1].
    """
    new, base = _fractions(new, "new"), _fractions(base, "base")
    _same_length(new, base, "new", "base")
    n = new.size
    if n < 2:
        raise ValueError(f"expected at least 2 episodes for a paired t-test, got {n}")
    differences = 100 * (new - base)
    mean, stderr = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(n)
    if stderr < _ROUNDING:
        p_worse = 0.0 if mean < -_ROUNDING else 1.0
        p_two_sided = 0.0 if abs(mean) > _ROUNDING else 1.0
        return PairedComparison(mean, (mean, mean), p_worse, p_two_sided, n, "paired-t")
    from scipy.special import stdtr, stdtrit

    half = float(stdtrit(n - 1, 0.975)) * stderr
    return PairedComparison(
        difference=mean,
        ci95=(mean - half, mean + half),
        p_worse=float(stdtr(n - 1, mean / stderr)),
        p_two_sided=2 * float(stdtr(n - 1, -abs(mean) / stderr)),
        n=n,
        test="paired-t",
    )


def paired_bootstrap(
    new_correct: NDArray[np.bool_],
    base_correct: NDArray[np.bool_],
    targets: NDArray[np.integer[Any]],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedComparison:
    """Compare two mean per-class accuracies on the same items by a bootstrap within classes.

    A resample draws n_c items of every class c with replacement and keeps each item's pair of outcomes together. The
    resampled difference needs only how often "only new right" was drawn beyond "only base right" in each class. That
    number is drawn directly, by inversion of its distribution function.

    ``ci95`` are the 2.5 % and 97.5 % percentiles of the resampled differences D* (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, section 13.3). The p-values invert that interval (their section 15.4's
    achieved significance level, with the +1 of Davison and Hinkley, "Bootstrap Methods and their Application", 1997,
    section 4.2): p_worse = (1 + #{D* >= 0}) / (1 + resamples), p_two_sided is twice the smaller of that and its
    mirror image, at most 1. A D* of 0 counts against either direction.

    The bootstrap variance of class c is (n_c - 1) / n_c of the unbiased one, so with small classes the interval is too
    narrow and the p-values are too small: in simulations with 102 classes of equal backbones, p_worse <= 0.05 came in
    about 7 % of the runs with 5 items a class and 6 % with 10.

    Args:
        new_correct, base_correct: (N,) bool, the same items in the same order.
        targets: (N,) integer classes.
        resamples: at least 1.
        seed: equal seeds and inputs give equal results.

    Raises:
        ValueError: empty, different lengths, outcomes that are not bool, targets that are not integers, or
            resamples < 1.
    """
    new, base = _hits(new_correct, "new_correct"), _hits(base_correct, "base_correct")
    if resamples < 1:
        raise ValueError(f"resamples: expected at least 1, got {resamples}")

    only_new, only_base, sizes = _by_class(new, base, targets)
    rng = np.random.default_rng(seed)
    resampled = np.zeros(resamples)
    for first, second, size in zip(only_new, only_base, sizes, strict=True):
        if first + second:
            below = np.cumsum(_net_distribution(first / size, second / size, int(size)))
            resampled += np.searchsorted(below / below[-1], rng.random(resamples), side="right") / size - 1
    resampled *= 100 / sizes.size

    p_worse = (1 + int(np.sum(resampled >= -_ROUNDING))) / (1 + resamples)
    p_better = (1 + int(np.sum(resampled <= _ROUNDING))) / (1 + resamples)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return PairedComparison(
        difference=100 * float(np.mean((only_new - only_base) / sizes)),
        ci95=(float(low), float(high)),
        p_worse=p_worse,
        p_two_sided=min(1.0, 2 * min(p_worse, p_better)),
        n=new.size,
        test="paired-bootstrap",
    )


def per_class_interval(
    new_correct: NDArray[np.bool_], base_correct: NDArray[np.bool_], targets: NDArray[np.integer[Any]]
) -> tuple[float, tuple[float, float]]:
    """The difference of two mean per-class accuracies and its normal 95 % interval, without drawing anything.

    Its standard error is the one that `paired_bootstrap` tends to with ever more resamples: with frequencies p_c of "only
    new right" and q_c of "only base right" among the n_c items of class c, sqrt(sum_c (p_c + q_c - (p_c - q_c)^2) / n_c)
    / C. For many pairs, where the bootstrap of each takes too long. Arguments and errors are those of `paired_bootstrap`.
    """
    new, base = _hits(new_correct, "new_correct"), _hits(base_correct, "base_correct")
    only_new, only_base, sizes = _by_class(new, base, targets)
    p, q = only_new / sizes, only_base / sizes
    difference = 100 * float(np.mean(p - q))
    half = Z95 * 100 * math.sqrt(float(np.sum((p + q - (p - q) ** 2) / sizes))) / sizes.size
    return difference, (difference - half, difference + half)


def _by_class(
    new: NDArray[np.bool_], base: NDArray[np.bool_], targets: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """(C,) items that only new has right, that only base has right, and all, of the classes that occur, sorted."""
    targets = np.asarray(targets)
    _same_length(new, base, "new_correct", "base_correct")
    _same_length(new, targets, "new_correct", "targets")
    if not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(f"targets: expected integer classes, got dtype {targets.dtype}")
    _, classes, sizes = np.unique(targets, return_inverse=True, return_counts=True)
    only_new, only_base = (np.bincount(classes, weights=hits).astype(np.float64) for hits in (new & ~base, base & ~new))
    return only_new, only_base, sizes


def _net_distribution(p: float, q: float, n: int) -> NDArray[np.float64]:
    """(2n + 1,) probabilities of the sum of n draws that are 1 with p, -1 with q and else 0, from -n to n."""
    turn = np.exp(-2j * np.pi * np.arange(2 * n + 1) / (2 * n + 1))
    probabilities = np.fft.ifft((1 - p - q + p * turn + q * turn.conj()) ** n).real
    # Rounding leaves some below zero by 1e-17, and a distribution function must not fall.
    return np.roll(np.maximum(probabilities, 0.0), n)


def paired_resamples(
    new: NDArray[np.floating[Any]],
    base: NDArray[np.floating[Any]],
    difference: float,
    n: int,
    *,
    higher_is_better: bool = True,
) -> PairedComparison:
    """Compare two scores of ``n`` items by their values on the same bootstrap resamples of the items.

    The standard deviation of the values' differences over the resamples is the standard error of the difference (Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 10), but for the factor sqrt(n / (n - 1)) by which it is
    too small (their section 5.3); ``ci95`` and the p-values are those of Student's t with n - 1 degrees of freedom. Both matter
    for few items alone: of 8 pictures a normal deviate would call 10 % of equal backbones different at 0.05, of 2 pictures 38 %.
    With 200 resamples the standard error is itself known to about 5 %.

    Args:
        new, base: (R,) the scores on resample 1 to R, in their unit; nan where one is undefined.
        difference: new - base on the items themselves.
        higher_is_better: whether a fall is a loss; ``p_worse`` speaks of losses.

    Raises:
        ValueError: different lengths, fewer than 2 items, or fewer than 2 resamples with a score.
    """
    from scipy.special import stdtr, stdtrit

    new, base = np.asarray(new, dtype=np.float64), np.asarray(base, dtype=np.float64)
    _same_length(new, base, "new", "base")
    differences = new - base
    differences = differences[~np.isnan(differences)]
    if n < 2 or differences.size < 2:
        raise ValueError(f"expected at least 2 items and 2 resamples with a score, got {n} and {differences.size}")
    stderr = float(differences.std(ddof=1)) * math.sqrt(n / (n - 1))
    gain = difference if higher_is_better else -difference
    if stderr < _ROUNDING:
        equal = abs(difference) < _ROUNDING
        p_worse = 1.0 if equal else float(gain > 0)
        return PairedComparison(difference, (difference, difference), p_worse, float(equal), n, "paired-resamples")
    half = float(stdtrit(n - 1, 0.975)) * stderr
    return PairedComparison(
        difference=difference,
        ci95=(difference - half, difference + half),
        p_worse=float(stdtr(n - 1, gain / stderr)),
        p_two_sided=2 * float(stdtr(n - 1, -abs(difference) / stderr)),
        n=n,
        test="paired-resamples",
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order of the input; reject where one is <= alpha.

    With p_(1) <= ... <= p_(m): adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j)), which keeps the chance of
    any false rejection at alpha under every dependence (Holm, "A simple sequentially rejective multiple test
    procedure", Scandinavian Journal of Statistics 6 (1979) 65-70).

    Raises:
        ValueError: empty, or a value that is nan or outside [0, 1].
    """
    p = _fractions(np.asarray(p_values, dtype=np.float64), "p_values")
    order = np.argsort(p, kind="stable")
    scaled = np.minimum(1.0, p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(scaled)
    return [float(value) for value in adjusted]


def _newcombe(both: int, only_new: int, only_base: int, neither: int) -> tuple[float, float]:
    """Newcombe's (1998) method 10 from the four cells of the paired table, in percentage points."""
    n = both + only_new + only_base + neither
    right_new, right_base = both + only_new, both + only_base
    p_new, p_base = right_new / n, right_base / n
    (low_new, high_new), (low_base, high_base) = wilson_interval(right_new, n), wilson_interval(right_base, n)
    association = float(both * neither - only_new * only_base)
    if association > 0:  # the paper's continuity correction, for positive association only
        association = max(0.0, association - n / 2)
    margins = right_new * (n - right_new) * right_base * (n - right_base)
    phi = association / math.sqrt(margins) if margins else 0.0
    below = _square_and_add(p_new - low_new, high_base - p_base, phi)
    above = _square_and_add(high_new - p_new, p_base - low_base, phi)
    return 100 * (p_new - p_base - below), 100 * (p_new - p_base + above)


def _square_and_add(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _hits(values: NDArray[Any], name: str) -> NDArray[np.bool_]:
    values = np.asarray(values)
    if values.ndim != 1 or values.size == 0 or values.dtype != np.bool_:
        raise ValueError(f"{name}: expected bool of shape (N,) with N >= 1, got {values.dtype} of shape {values.shape}")
    return values


def _fractions(values: NDArray[Any], name: str) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"{name}: expected shape (N,) with N >= 1, got {values.shape}")
    bad = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if bad.size:
        raise ValueError(f"{name}: expected numbers in [0, 1], got {values[bad[0]]} at position {bad[0]}")
    return values


def _same_length(a: NDArray[Any], b: NDArray[Any], name_a: str, name_b: str) -> None:
    if a.shape != b.shape:
        raise ValueError(f"expected {name_a} and {name_b} of the same items, got shapes {a.shape} and {b.shape}")
