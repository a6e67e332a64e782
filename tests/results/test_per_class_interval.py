"""The interval of mean per-class accuracies without a bootstrap, and the distribution that the bootstrap draws from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sslbench.results.statistics import _net_distribution, paired_bootstrap, per_class_interval


def pair(seed):
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.repeat([3, 5, 8], [40, 90, 170]))
    right = rng.random(targets.size)
    return (right + rng.normal(0, 0.2, targets.size)) < 0.6, (right + rng.normal(0, 0.2, targets.size)) < 0.65, targets


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_the_bootstrap_tends_to(seed):
    new, base, targets = pair(seed)
    drawn = paired_bootstrap(new, base, targets, resamples=200_000)
    difference, ci95 = per_class_interval(new, base, targets)
    assert difference == pytest.approx(drawn.difference)
    assert ci95 == pytest.approx(drawn.ci95, abs=0.03 * (ci95[1] - ci95[0]))


@pytest.mark.parametrize("seed", range(3))
def test_its_width_is_the_spread_of_resampled_items(seed):
    new, base, targets = pair(seed)
    difference = new.astype(float) - base
    variance = sum(difference[targets == c].var() / np.sum(targets == c) for c in (3, 5, 8)) / 9
    low, high = per_class_interval(new, base, targets)[1]
    assert (high - low) / 2 == pytest.approx(100 * stats.norm.ppf(0.975) * variance**0.5)


def test_equal_outcomes_have_no_width():
    new, _, targets = pair(0)
    assert per_class_interval(new, new, targets) == (0.0, (0.0, 0.0))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"base": np.ones(3, dtype=bool)}, "same items"),
        ({"new": np.ones(300)}, "expected bool"),
        ({"targets": np.zeros(300)}, "integer classes"),
    ],
)
def test_bad_input_is_named(change, told):
    new, base, targets = pair(0)
    given = {"new": new, "base": base, "targets": targets} | change
    with pytest.raises(ValueError, match=told):
        per_class_interval(*given.values())


@pytest.mark.parametrize(
    ("p", "q", "n"), [(0.1, 0.3, 1), (0.25, 0.0, 7), (0.2, 0.2, 60), (1.0, 0.0, 20), (0.01, 0.9, 300)]
)
def test_the_net_number_of_draws_is_a_repeated_convolution(p, q, n):
    expected = np.ones(1)
    for _ in range(n):
        expected = np.convolve(expected, [q, 1 - p - q, p])
    found = _net_distribution(p, q, n)
    np.testing.assert_allclose(found, expected, atol=1e-13)
    assert (found >= 0).all()
