"""VOC-2007 mAP against a brute-force implementation on scikit-learn's precision-recall curve."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

from sslbench.metrics import voc_map11, voc_map11_resampled
from sslbench.metrics.multilabel import _average_precisions


def reference_map11(scores, targets):
    """Percent, one threshold of one class at a time."""
    per_class = []
    for c in range(scores.shape[1]):
        precision, recall, _ = precision_recall_curve(targets[:, c], scores[:, c])
        per_class.append(np.mean([max(precision[recall >= t]) for t in np.linspace(0, 1, 11)]))
    return 100 * np.mean(per_class)


def multilabel(seed, n, k, decimals=None, rate=0.2):
    """Informative scores; ``decimals`` rounds them into ties. Every class has a positive."""
    rng = np.random.default_rng(seed)
    targets = rng.random((n, k)) < rate
    targets[rng.integers(n, size=k), np.arange(k)] = True
    scores = rng.normal(size=(n, k)) + targets
    return (scores if decimals is None else scores.round(decimals)), targets.astype(np.int64)


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize(("n", "k", "rate"), [(1, 1, 0.5), (2, 3, 0.5), (11, 4, 0.3), (60, 5, 0.5), (500, 6, 0.03)])
def test_value_is_the_reference(n, k, rate, decimals):
    for seed in range(5):
        scores, targets = multilabel(seed, n, k, decimals, rate)
        assert voc_map11(scores, targets).value == pytest.approx(reference_map11(scores, targets), abs=1e-10)


def test_float32_scores_and_bool_targets_are_the_same_data():
    scores, targets = multilabel(0, 80, 3)
    scores = scores.astype(np.float32)
    assert voc_map11(scores, targets.astype(bool)) == voc_map11(scores.astype(np.float64), targets)


def test_all_scores_equal_gives_the_base_rate_and_the_free_point():
    targets = np.array([[1], [0], [0], [0]])
    assert voc_map11(np.zeros((4, 1)), targets).value == pytest.approx(100 * (1 + 10 * 0.25) / 11)


def test_the_worst_ranking_keeps_the_free_point_at_recall_0():
    targets = np.zeros((1000, 1), dtype=np.int64)
    targets[-1] = 1
    score = voc_map11(-np.arange(1000.0)[:, None], targets)
    assert score.value == pytest.approx(100 * (1 + 10 * 0.001) / 11)


def test_a_recall_of_exactly_three_tenths_misses_its_threshold():
    # Ten positives, three of them first: recall 3/10 at precision 1, then 97 negatives before the other seven.
    targets = np.array([1] * 3 + [0] * 97 + [1] * 7)[:, None]
    scores = -np.arange(107.0)[:, None]
    tail = 10 / 107
    assert voc_map11(scores, targets).value == pytest.approx(100 * (3 + 8 * tail) / 11)  # 0, .1, .2 and not .3


def test_a_perfect_ranking_scores_100_without_spread():
    targets = np.array([[1, 0], [1, 0], [0, 1], [0, 1]] * 10)
    score = voc_map11(targets.astype(np.float64), targets)
    assert (score.value, *score.ci95) == pytest.approx((100, 100, 100))
    assert score.stderr == pytest.approx(0, abs=1e-9)
    assert score.n == 40


def test_only_the_order_of_the_scores_counts():
    scores, targets = multilabel(3, 200, 4)
    assert voc_map11(np.exp(scores), targets) == voc_map11(scores, targets)


def test_stderr_is_that_of_an_explicit_bootstrap():
    scores, targets = multilabel(1, 150, 3, decimals=1)
    rng = np.random.default_rng(5)
    resampled = []
    while len(resampled) < 600:
        rows = rng.integers(150, size=150)
        resampled.append(reference_map11(scores[rows], targets[rows]))
    # 200 resamples know a standard deviation to about 1/sqrt(2 * 200) = 5 %.
    assert voc_map11(scores, targets).stderr == pytest.approx(np.std(resampled), rel=0.2)


def test_resamples_of_two_backbones_are_of_the_same_items():
    """Column r is the reference on the rows of resample r, whatever the scores."""
    first, targets = multilabel(11, 50, 3)
    second = first + np.random.default_rng(12).normal(size=first.shape)
    counts = np.random.default_rng(2007).multinomial(50, np.full(50, 1 / 50), size=200)
    for scores in (first, second):
        score, resampled = voc_map11_resampled(scores, targets)
        assert (score, len(resampled)) == (voc_map11(scores, targets), 200)
        bare = voc_map11(scores, targets, resamples=0)
        assert bare.value == score.value
        assert np.isnan([bare.stderr, *bare.ci95]).all()
        for r in range(0, 200, 20):
            rows = np.repeat(np.arange(50), counts[r])
            present = targets[rows].any(axis=0)
            expected = reference_map11(scores[rows][:, present], targets[rows][:, present])
            assert resampled[r] == pytest.approx(expected, abs=1e-10)


def test_a_resample_without_any_positive_has_no_value():
    targets = np.zeros((30, 2), dtype=np.int64)
    targets[3] = 1
    scores = np.random.default_rng(0).normal(size=(30, 2))
    _, resampled = voc_map11_resampled(scores, targets)
    lost = np.random.default_rng(2007).multinomial(30, np.full(30, 1 / 30), size=200)[:, 3] == 0
    assert 0.2 < lost.mean() < 0.5
    np.testing.assert_array_equal(np.isnan(resampled), lost)
    assert voc_map11(scores, targets).stderr == pytest.approx(np.nanstd(resampled, ddof=1))


def test_resamples_are_whole_data_sets():
    """The bootstrap's counts path gives what the reference gives on the repeated rows."""
    rng = np.random.default_rng(102)
    scores, targets = multilabel(2, 40, 1, decimals=0)
    counts = rng.multinomial(40, np.full(40, 1 / 40), size=50).T
    ours = _average_precisions(scores[:, 0], targets[:, 0].astype(bool), counts)
    for column in range(50):
        rows = np.repeat(np.arange(40), counts[:, column])
        assert 100 * ours[column] == pytest.approx(reference_map11(scores[rows], targets[rows]), abs=1e-10)


def test_a_resample_without_positives_has_no_average_precision():
    scores, positive = np.array([0.3, 0.2, 0.1]), np.array([False, True, False])
    counts = np.array([[1, 2], [1, 0], [1, 1]])
    np.testing.assert_allclose(_average_precisions(scores, positive, counts), [(1 + 10 * 0.5) / 11, np.nan])


def test_a_class_with_one_positive_is_skipped_where_a_resample_lost_it():
    """Class 1 has its only positive ranked last, so a resample that skips it scores class 0 alone, far higher."""
    scores, targets = multilabel(4, 60, 2, rate=0.5)
    targets[:, 1] = 0
    targets[scores[:, 1].argmin(), 1] = 1
    score = voc_map11(scores, targets)
    assert score.value == pytest.approx(reference_map11(scores, targets))
    rng = np.random.default_rng(9)
    resampled = []
    for _ in range(600):
        rows = rng.integers(60, size=60)
        present = targets[rows].any(axis=0)
        resampled.append(reference_map11(scores[rows][:, present], targets[rows][:, present]))
    assert score.stderr == pytest.approx(np.std(resampled), rel=0.15)
    assert score.stderr > 15


def test_nothing_drawn_above_the_first_positive_is_no_warning(recwarn):
    scores, positive = np.array([0.4, 0.3, 0.2, 0.1]), np.array([True, False, True, False])
    counts = np.array([[0], [0], [1], [3]])
    assert _average_precisions(scores, positive, counts) == pytest.approx([1.0])
    assert not recwarn.list


def test_equal_input_gives_equal_scores_and_an_interval_within_the_scale():
    scores, targets = multilabel(6, 30, 2, rate=0.1)
    score = voc_map11(scores, targets)
    assert score == voc_map11(scores.copy(), targets.copy())
    assert 0.0 <= score.ci95[0] < score.value < score.ci95[1] <= 100.0


@pytest.mark.parametrize("decimals", [None, 1])
def test_an_ignored_item_is_as_if_it_were_not_there_for_that_class(decimals):
    scores, targets = multilabel(7, 120, 4, decimals)
    targets[np.random.default_rng(8).random(targets.shape) < 0.3] = -1
    per_class = []
    for c in range(4):
        kept = targets[:, c] != -1
        per_class.append(reference_map11(scores[kept, c : c + 1], targets[kept, c : c + 1]))
    score = voc_map11(scores, targets.astype(np.int8))
    assert score.value == pytest.approx(np.mean(per_class), abs=1e-10)
    assert score.n == 120
    assert abs(score.value - voc_map11(scores, np.maximum(targets, 0)).value) > 1


def test_ignoring_is_neither_a_positive_nor_a_negative():
    scores = np.array([[0.9], [0.8], [0.7], [0.6]])
    ignored_first = np.array([[-1], [1], [0], [1]])
    assert voc_map11(scores, ignored_first).value == voc_map11(scores[1:], ignored_first[1:]).value
    assert voc_map11(scores, np.array([[0], [1], [0], [1]])).value < voc_map11(scores, ignored_first).value


def test_the_spread_leaves_ignored_items_out_too():
    """Where an item of a class is ignored, its score cannot reach that class's resamples."""
    scores, targets = multilabel(9, 80, 2)
    targets[:10, 0] = -1
    moved = scores.copy()
    moved[:10, 0] = 100.0
    assert voc_map11(moved, targets) == voc_map11(scores, targets)


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2), dtype=int), r"N, K >= 1, got \(0, 2\)"),
        (np.zeros((2, 2)), np.ones((2, 3), dtype=int), r"expected shape \(2, 2\).*got \(2, 3\)"),
        (np.zeros((2, 2)), np.ones(2, dtype=int), r"expected shape \(2, 2\).*got \(2,\)"),
        (np.array([[0, 0], [np.nan, 0]]), np.ones((2, 2), dtype=int), "scores: .* first in row 1"),
        (np.zeros((2, 2)), np.array([[1, 1], [-2, 1]]), r"only 1, 0 and -1, got \[-2, 1\] at row 1"),
        (np.zeros((2, 2)), np.array([[1, 0.5], [1, 1]]), r"only 1, 0 and -1, got \[1.0, 0.5\] at row 0"),
        (np.zeros((2, 2)), np.array([[1, -1], [1, 0]]), r"none in classes \[1\]"),
        (np.zeros((2, 4)), np.array([[1, 0, 1, 0], [1, 0, 0, 0]]), r"none in classes \[1, 3\]"),
    ],
)
def test_bad_input_is_refused(scores, targets, message):
    with pytest.raises(ValueError, match=message):
        voc_map11(scores, targets)
