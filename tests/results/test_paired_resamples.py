"""The paired test of average precision against its formula, and by simulated false positives and power."""

import numpy as np
import pytest
from scipy import stats

from sslbench.metrics import voc_map11_resampled
from sslbench.results.statistics import paired_resamples


def noisy_labels(seed: int, *, worse: float = 0.0, n: int = 200, k: int = 3):
    """Decision values of two backbones with shared and own noise, and targets."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, k)) < 0.25).astype(np.int64)
    shared = 1.5 * targets + rng.normal(size=(n, k))
    return [shared + rng.normal(scale=0.5 + extra, size=(n, k)) for extra in (worse, 0.0)], targets


def compared(seed: int, worse: float = 0.0):
    both, targets = noisy_labels(seed, worse=worse)
    (new, of_new), (base, of_base) = (voc_map11_resampled(scores, targets) for scores in both)
    return paired_resamples(of_new, of_base, new.value - base.value, len(targets))


def test_paired_resamples_is_students_test_of_the_spread_of_differences():
    rng = np.random.default_rng(0)
    base = rng.normal(60, 2, size=200)
    new = base + rng.normal(-1, 0.5, size=200)
    new[7] = base[7] = np.nan
    got = paired_resamples(new, base, -1.1, 500)
    spread = np.nanstd(new - base, ddof=1) * np.sqrt(500 / 499)
    assert (got.difference, got.n, got.test) == (-1.1, 500, "paired-resamples")
    assert got.ci95 == pytest.approx(stats.t.interval(0.95, 499, loc=-1.1, scale=spread), rel=1e-9)
    assert got.p_worse == pytest.approx(stats.t.cdf(-1.1 / spread, 499))
    assert got.p_two_sided == pytest.approx(2 * got.p_worse)


@pytest.mark.parametrize("n", [2, 3, 8, 40])
def test_of_means_it_is_the_paired_t_test_however_few_the_items(n):
    rng = np.random.default_rng(n)
    new, base = rng.normal(size=(2, n))
    counts = rng.multinomial(n, np.full(n, 1 / n), size=100_000)
    got = paired_resamples(counts @ new / n, counts @ base / n, float(new.mean() - base.mean()), n)
    expected = stats.ttest_rel(new, base)
    assert got.p_two_sided == pytest.approx(expected.pvalue, rel=0.03)
    assert got.ci95 == pytest.approx(tuple(expected.confidence_interval()), rel=0.03)


@pytest.mark.parametrize(("shift", "p_worse", "p_two_sided"), [(0.0, 1.0, 1.0), (-2.0, 0.0, 0.0), (2.0, 1.0, 0.0)])
def test_paired_resamples_of_a_constant_difference_takes_the_limits(shift, p_worse, p_two_sided):
    base = np.random.default_rng(0).normal(60, 2, size=50)
    got = paired_resamples(base + shift, base, shift, 10)
    assert (got.ci95, got.p_worse, got.p_two_sided) == ((shift, shift), p_worse, p_two_sided)


def test_paired_resamples_false_positives_and_power():
    null = [compared(seed).p_worse <= 0.05 for seed in range(300)]
    # With 4 binomial standard errors of room.
    assert np.mean(null) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / len(null))
    assert np.mean(null) > 0.01
    assert np.mean([compared(seed, worse=0.7).p_worse <= 0.05 for seed in range(60)]) > 0.9


def test_paired_resamples_are_narrower_than_unpaired_ones():
    """Both backbones see the same pictures and share most of their noise."""
    both, targets = noisy_labels(1)
    unpaired = np.hypot(*(np.std(voc_map11_resampled(scores, targets)[1], ddof=1) for scores in both))
    low, high = compared(1).ci95
    assert (high - low) / (2 * 1.96) < 0.7 * unpaired


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"same items, got shapes \(4,\) and \(3,\)"):
        paired_resamples(np.ones(4), np.ones(3), 0.0, 9)
    with pytest.raises(ValueError, match=r"2 resamples with a score, got 9 and 0"):
        paired_resamples(np.full(4, np.nan), np.ones(4), 0.0, 9)
    with pytest.raises(ValueError, match="at least 2 items"):
        paired_resamples(np.arange(4.0), np.ones(4), 1.0, 1)
