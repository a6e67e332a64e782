"""Paired comparisons against scipy, enumeration, published examples, and simulated false positives and power."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from sslbench.results.statistics import holm, mcnemar, paired_bootstrap, paired_t


def table(both, only_new, only_base, neither):
    """(new_correct, base_correct) with these four counts."""
    cells = np.repeat([0, 1, 2, 3], [both, only_new, only_base, neither])
    return cells <= 1, (cells == 0) | (cells == 2)


def outcomes(rng, rate_new_only, rate_base_only, size):
    """(new_correct, base_correct) of random items; the rest is right or wrong in both, half each."""
    draw = rng.random(size)
    rest = draw > rate_new_only + rate_base_only
    both = rest & (rng.random(size) < 0.5)
    return (draw < rate_new_only) | both, (rest & both) | (~rest & (draw >= rate_new_only))


def false_positives_at_most(level, rejections):
    """Whether a rejection rate of at most ``level`` is believable, with 4 binomial standard errors of room."""
    return np.mean(rejections) <= level + 4 * math.sqrt(level * (1 - level) / len(rejections))


# mcnemar


@pytest.mark.parametrize("cells", [(50, 3, 12, 9), (50, 12, 3, 9), (0, 4, 4, 0), (10, 0, 1, 10), (900, 40, 61, 200)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_items(cells):
    _, only_new, only_base, _ = cells
    result = mcnemar(*table(*cells))
    discordant = only_new + only_base
    assert result.p_worse == pytest.approx(stats.binomtest(only_base, discordant, alternative="greater").pvalue)
    assert result.p_two_sided == pytest.approx(stats.binomtest(only_base, discordant).pvalue)
    new, base = table(*cells)
    assert result.difference == pytest.approx(100 * (new.mean() - base.mean()))
    assert (result.n, result.test) == (sum(cells), "mcnemar-exact")


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_mcnemar_is_the_sign_flip_test_by_enumeration(n):
    """Under H0 each item's pair of outcomes is as likely the other way round."""
    for new_bits, base_bits in itertools.product(itertools.product([False, True], repeat=n), repeat=2):
        new, base = np.array(new_bits), np.array(base_bits)
        difference = new.astype(int) - base.astype(int)
        flipped = [int(np.dot(difference, signs)) for signs in itertools.product([-1, 1], repeat=n)]
        result = mcnemar(new, base)
        assert result.p_worse == pytest.approx(np.mean([total <= difference.sum() for total in flipped]))
        extreme = np.mean([abs(total) >= abs(difference.sum()) for total in flipped])
        assert result.p_two_sided == pytest.approx(extreme)


@pytest.mark.parametrize(
    ("cells", "published"),
    [
        ((36, 12, 2, 0), (5.69, 34.04)),  # Newcombe (1998), method 10
        ((1, 1, 7, 12), (-50.7, -2.6)),  # Fagerland, Lydersen and Laake (2014), airway hyper-responsiveness
        ((14, 5, 0, 22), (1.1, 22.6)),  # Altman et al., Statistics with Confidence (2000), p. 52
    ],
)
def test_mcnemar_interval_reproduces_published_examples(cells, published):
    assert mcnemar(*table(*cells)).ci95 == pytest.approx(published, abs=0.06)


def test_mcnemar_mirrors_when_the_backbones_swap():
    new, base = table(50, 3, 12, 9)
    forth, back = mcnemar(new, base), mcnemar(base, new)
    assert forth.ci95 == pytest.approx((-back.ci95[1], -back.ci95[0]))
    assert forth.difference == -back.difference
    assert forth.p_two_sided == back.p_two_sided
    assert forth.p_worse < 0.05 < 0.95 < back.p_worse


@pytest.mark.parametrize("cells", [(40, 0, 0, 60), (100, 0, 0, 0), (0, 0, 0, 100)])
def test_mcnemar_of_identical_outcomes_is_no_evidence_but_has_a_width(cells):
    result = mcnemar(*table(*cells))
    assert (result.difference, result.p_worse, result.p_two_sided) == (0.0, 1.0, 1.0)
    assert -7 < result.ci95[0] < 0 < result.ci95[1] < 7


def test_mcnemar_interval_without_a_correlation_adds_independent_wilson_limits():
    """Where one backbone has every item right, phi is 0/0 and taken as 0."""
    low_new = stats.binomtest(100, 100).proportion_ci(method="wilson").low
    wilson_base = stats.binomtest(90, 100).proportion_ci(method="wilson")
    below = math.hypot(1 - low_new, wilson_base.high - 0.9)
    assert mcnemar(*table(90, 10, 0, 0)).ci95 == pytest.approx((10 - 100 * below, 100 * (1 - wilson_base.low)))


def test_mcnemar_interval_stays_on_the_scale():
    for cells in [(0, 5, 0, 0), (0, 0, 5, 0), (0, 1, 0, 0), (1, 0, 1, 0), (3, 1, 0, 0)]:
        result = mcnemar(*table(*cells))
        assert -100 - 1e-9 <= result.ci95[0] <= result.difference <= result.ci95[1] <= 100 + 1e-9


def test_mcnemar_interval_covers_the_true_difference():
    rng = np.random.default_rng(1)
    results = [mcnemar(*outcomes(rng, 0.05, 0.12, 150)) for _ in range(2000)]
    covered = np.mean([result.ci95[0] <= -7.0 <= result.ci95[1] for result in results])
    assert 0.94 <= covered <= 0.975


def test_mcnemar_false_positives_and_power():
    rng = np.random.default_rng(2)
    null = [mcnemar(*outcomes(rng, 0.08, 0.08, 300)) for _ in range(1500)]
    assert false_positives_at_most(0.05, [result.p_worse <= 0.05 for result in null])
    assert false_positives_at_most(0.05, [result.p_two_sided <= 0.05 for result in null])
    drop = [mcnemar(*outcomes(rng, 0.04, 0.12, 300)).p_worse <= 0.05 for _ in range(300)]
    gain = [mcnemar(*outcomes(rng, 0.12, 0.04, 300)).p_worse <= 0.05 for _ in range(300)]
    assert np.mean(drop) > 0.9
    assert np.mean(gain) < 0.01


# paired_t


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [-0.03, 0.0, 0.03])
def test_paired_t_is_scipys(seed, shift):
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.3, 0.7, size=40)
    new = base + shift + rng.normal(0, 0.05, size=40)
    result = paired_t(new, base)
    reference = stats.ttest_rel(100 * new, 100 * base)
    interval = reference.confidence_interval(0.95)
    assert result.ci95 == pytest.approx((interval.low, interval.high))
    assert result.p_two_sided == pytest.approx(reference.pvalue)
    assert result.p_worse == pytest.approx(stats.ttest_rel(new, base, alternative="less").pvalue)
    assert result.difference == pytest.approx(100 * np.mean(new - base))
    assert (result.n, result.test) == (40, "paired-t")


@pytest.mark.parametrize(
    ("shift", "p_worse", "p_two_sided"), [(0.0, 1.0, 1.0), (-0.1, 0.0, 0.0), (0.1, 1.0, 0.0), (-0.001, 0.0, 0.0)]
)
def test_paired_t_of_a_constant_difference_takes_the_limits(shift, p_worse, p_two_sided):
    base = np.linspace(0.2, 0.8, 31)
    result = paired_t(base + shift, base)  # adding the shift leaves differences that are equal only up to rounding
    assert (result.p_worse, result.p_two_sided) == (p_worse, p_two_sided)
    assert (result.difference, *result.ci95) == pytest.approx((100 * shift,) * 3)


def test_paired_t_takes_rounding_for_no_difference():
    base = np.array([0.3, 0.6, 0.7, 0.3])
    new = np.array([0.1 + 0.2, 0.6, 0.7, 0.3]) - 2**-50
    assert np.ptp(new - base) > 0
    result = paired_t(new, base)
    assert (result.p_worse, result.p_two_sided) == (1.0, 1.0)


def test_paired_t_sees_the_smallest_real_difference():
    """One query of one episode out of 600 differs: far above the rounding that counts as none."""
    base = np.full(600, 0.8)
    new = base.copy()
    new[0] -= 1 / 75
    result = paired_t(new, base)
    assert result.p_worse == pytest.approx(stats.ttest_rel(new, base, alternative="less").pvalue)
    assert 0.1 < result.p_worse < 0.2


def test_paired_t_false_positives_and_power():
    rng = np.random.default_rng(3)
    base = rng.binomial(75, 0.7, size=(1500, 100)) / 75
    same = rng.binomial(75, 0.7, size=(1500, 100)) / 75
    worse = rng.binomial(75, 0.67, size=(1500, 100)) / 75
    null = [paired_t(*pair) for pair in zip(same, base, strict=True)]
    assert false_positives_at_most(0.05, [result.p_worse <= 0.05 for result in null])
    assert false_positives_at_most(0.05, [result.p_two_sided <= 0.05 for result in null])
    assert np.mean([paired_t(*pair).p_worse <= 0.05 for pair in zip(worse[:300], base, strict=False)]) > 0.95


# paired_bootstrap


def classes_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


def mean_per_class_difference(new, base, targets):
    return 100 * np.mean([new[targets == c].mean() - base[targets == c].mean() for c in np.unique(targets)])


def unbalanced_pair(seed):
    rng = np.random.default_rng(seed)
    targets = rng.permutation(classes_of([15, 40, 90, 155]))
    new, base = outcomes(rng, 0.05 + 0.03 * targets, 0.2 - 0.05 * targets, targets.size)
    return new, base, targets


@pytest.mark.parametrize("seed", range(3))
def test_bootstrap_is_the_explicit_resampling_of_indices(seed):
    new, base, targets = unbalanced_pair(seed)
    result = paired_bootstrap(new, base, targets, resamples=20_000)
    rng = np.random.default_rng(100 + seed)
    explicit = []
    for _ in range(4000):
        rows = np.concatenate([rng.choice(np.flatnonzero(targets == c), np.sum(targets == c)) for c in range(4)])
        explicit.append(mean_per_class_difference(new[rows], base[rows], targets[rows]))
    spread = np.std(explicit)
    assert result.difference == pytest.approx(mean_per_class_difference(new, base, targets))
    assert result.ci95 == pytest.approx(tuple(np.quantile(explicit, (0.025, 0.975))), abs=0.15 * spread)
    assert result.p_worse == pytest.approx(np.mean(np.array(explicit) >= 0), abs=0.04)
    assert (result.n, result.test) == (300, "paired-bootstrap")


@pytest.mark.parametrize("seed", range(3))
def test_bootstrap_width_is_the_closed_form_stderr(seed):
    """Var D* = sum_c (q_c - d_c^2) / n_c / C^2, with q_c the discordant fraction and d_c the difference in class c."""
    new, base, targets = unbalanced_pair(seed)
    variance = 0.0
    for c in range(4):
        difference = new[targets == c].astype(float) - base[targets == c]
        variance += difference.var() / difference.size / 4**2
    result = paired_bootstrap(new, base, targets)
    assert (result.ci95[1] - result.ci95[0]) / (2 * 1.96) == pytest.approx(100 * math.sqrt(variance), rel=0.05)


def test_bootstrap_weighs_classes_and_not_items():
    """10 items lost in the small class, 40 gained in the large one: worse per class, better per item."""
    targets = classes_of([50, 1000])
    new, base = np.ones(1050, dtype=bool), np.ones(1050, dtype=bool)
    new[:10] = False
    base[50:90] = False
    result = paired_bootstrap(new, base, targets)
    assert result.difference == pytest.approx(100 * (-0.2 + 0.04) / 2)
    assert result.p_worse < 0.01
    assert mcnemar(new, base).difference > 0


def test_bootstrap_of_identical_outcomes_is_no_evidence():
    new, _, targets = unbalanced_pair(0)
    result = paired_bootstrap(new, new, targets)
    assert (result.difference, result.ci95, result.p_worse, result.p_two_sided) == (0.0, (0.0, 0.0), 1.0, 1.0)


def test_bootstrap_p_values_are_never_zero_and_bounded_by_the_resamples():
    targets = classes_of([30, 30])
    result = paired_bootstrap(np.zeros(60, dtype=bool), np.ones(60, dtype=bool), targets, resamples=99)
    assert result.ci95 == pytest.approx((-100, -100))
    assert result.p_worse == pytest.approx(1 / 100)
    assert result.p_two_sided == pytest.approx(2 / 100)


@pytest.mark.parametrize("tilted", [(3, 2, 1, 4), (3, 1, 2, 4)])
def test_bootstrap_counts_a_resampled_zero_against_either_direction(tilted):
    """Against the exact distribution of D*, where 0.1 + 0.2 - 0.3 is 0: rounding decides no p-value."""
    classes = [(4, 1, 1, 4)] * 10 + [tilted] * 2
    new, base = (np.concatenate(hits) for hits in zip(*(table(*cells) for cells in classes), strict=True))
    exact = np.ones(1)  # of the summed count "only new right" - "only base right", from -120 on
    for both, only_new, only_base, neither in classes:
        for _ in range(10):
            exact = np.convolve(exact, np.array([only_base, both + neither, only_new]) / 10)
    at_least_0, at_most_0 = exact[120:].sum(), exact[:121].sum()
    result = paired_bootstrap(new, base, classes_of([10] * 12), resamples=40_000)
    assert exact[120] > 0.07
    assert result.p_worse == pytest.approx(at_least_0, abs=0.01)
    assert result.p_two_sided == pytest.approx(2 * min(at_least_0, at_most_0), abs=0.02)
    assert result.p_two_sided < 0.9


def test_bootstrap_depends_on_the_seed_and_on_nothing_else():
    new, base, targets = unbalanced_pair(1)
    first = paired_bootstrap(new, base, targets, resamples=500, seed=7)
    assert first == paired_bootstrap(new, base, targets, resamples=500, seed=7)
    assert first != paired_bootstrap(new, base, targets, resamples=500, seed=8)
    order = np.random.default_rng(0).permutation(targets.size)
    assert first == paired_bootstrap(new[order], base[order], targets[order] + 40, resamples=500, seed=7)


def test_bootstrap_false_positives_and_power():
    rng = np.random.default_rng(4)
    targets = classes_of([30, 30, 60, 60, 120])
    null = [
        paired_bootstrap(*outcomes(rng, 0.08, 0.08, targets.size), targets, resamples=999, seed=i) for i in range(1500)
    ]
    assert false_positives_at_most(0.05, [result.p_worse <= 0.05 for result in null])
    assert false_positives_at_most(0.05, [result.p_two_sided <= 0.05 for result in null])
    drop = [
        paired_bootstrap(*outcomes(rng, 0.03, 0.12, targets.size), targets, resamples=999, seed=i).p_worse <= 0.05
        for i in range(200)
    ]
    assert np.mean(drop) > 0.9


# holm


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04; the running maximum lifts the last to .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_rejects_exactly_what_the_step_down_procedure_rejects():
    rng = np.random.default_rng(5)
    for m in range(1, 9):
        for _ in range(50):
            p = (rng.random(m) ** 3).round(2)  # rounding makes ties
            adjusted = holm(p.tolist())
            for alpha in (0.0123, 0.0517, 0.2031, 0.9):
                rejected = [False] * m
                for step, index in enumerate(np.argsort(p, kind="stable")):
                    if p[index] > alpha / (m - step):
                        break
                    rejected[index] = True
                assert [value <= alpha for value in adjusted] == rejected


def test_holm_keeps_one_value_caps_at_one_and_ties_stay_tied():
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02, 0.5, 0.02]) == pytest.approx([0.06, 0.5, 0.06])


# input checks

TRUE4 = np.ones(4, dtype=bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mcnemar(TRUE4, TRUE4[:3]), r"same items, got shapes \(4,\) and \(3,\)"),
        (lambda: mcnemar(TRUE4[:0], TRUE4[:0]), r"new_correct: .*N >= 1, got bool of shape \(0,\)"),
        (lambda: mcnemar(TRUE4, np.ones(4)), "base_correct: expected bool .* got float64"),
        (lambda: mcnemar(TRUE4.reshape(2, 2), TRUE4), r"new_correct: .*shape \(2, 2\)"),
        (lambda: paired_t(np.ones(4), np.ones(3)), r"same items, got shapes \(4,\) and \(3,\)"),
        (lambda: paired_t(np.ones(0), np.ones(0)), r"new: expected shape \(N,\) with N >= 1"),
        (lambda: paired_t(np.ones(1), np.ones(1)), "at least 2 episodes .* got 1"),
        (lambda: paired_t(np.ones(3), np.array([0.5, 71.0, 0.2])), r"base: .*\[0, 1\], got 71.0 at position 1"),
        (lambda: paired_t(np.array([0.5, np.nan]), np.ones(2)), "new: .* got nan at position 1"),
        (lambda: paired_bootstrap(TRUE4, TRUE4[:3], np.zeros(4, int)), r"base_correct .*\(4,\) and \(3,\)"),
        (lambda: paired_bootstrap(TRUE4, TRUE4, np.zeros(3, int)), r"targets .*\(4,\) and \(3,\)"),
        (lambda: paired_bootstrap(TRUE4, TRUE4, np.zeros(4)), "integer classes, got dtype float64"),
        (lambda: paired_bootstrap(TRUE4[:0], TRUE4[:0], np.zeros(0, int)), "new_correct: .*N >= 1"),
        (
            lambda: paired_bootstrap(TRUE4, TRUE4, np.zeros(4, int), resamples=0),
            "resamples: expected at least 1, got 0",
        ),
        (lambda: holm([]), "p_values: .*N >= 1"),
        (lambda: holm([0.5, 1.5]), r"p_values: .*\[0, 1\], got 1.5 at position 1"),
        (lambda: holm([math.nan]), "p_values: .* got nan at position 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
