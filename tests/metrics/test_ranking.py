"""ROC area and average precision against scikit-learn, torchmetrics and a count of pairs."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import average_precision_score, roc_auc_score
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MultilabelAUROC,
    MultilabelAveragePrecision,
)

from sslbench.metrics import auroc, auroc_resampled, average_precision, average_precision_resampled
from sslbench.metrics.ranking import class_scores

BOTH = [(auroc, auroc_resampled), (average_precision, average_precision_resampled)]


def one_label(seed, n, k, kinds=None):
    """Informative decision values, not centred; with `kinds`, many items share all of theirs. Every class present."""
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(k), rng.integers(k, size=n - k)])
    decision = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[targets] + rng.normal(size=(n, 1))
    return (decision if kinds is None else decision[rng.integers(kinds, size=n)]), targets


def several_labels(seed, n, k, decimals=None, ignored=0.0):
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, k)) < 0.3).astype(np.int64)
    targets[rng.random((n, k)) < ignored] = -1
    targets[0], targets[1] = 1, 0
    scores = rng.normal(size=(n, k)) + targets
    return (scores if decimals is None else scores.round(decimals)), targets


def tensors(*arrays):
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def by_pairs(scores, positive):
    """The share of pairs that the positive wins, one pair after the other."""
    won = [1.0 if high > low else 0.5 if high == low else 0.0 for high in scores[positive] for low in scores[~positive]]
    return np.mean(won)


@pytest.mark.parametrize("kinds", [None, 8, 2])
@pytest.mark.parametrize(("n", "k"), [(12, 3), (60, 5), (400, 8)])
def test_several_classes_against_the_rest(n, k, kinds):
    for seed in range(4):
        decision, targets = one_label(seed, n, k, kinds)
        share = softmax(decision, axis=1)
        areas = roc_auc_score(targets, share, multi_class="ovr", average="macro")
        assert auroc(decision, targets).value == pytest.approx(100 * areas, abs=1e-9)
        precision = average_precision_score(np.eye(k, dtype=int)[targets], share, average="macro")
        assert average_precision(decision, targets).value == pytest.approx(100 * precision, abs=1e-9)


def test_torchmetrics_agrees_on_several_classes():
    decision, targets = one_label(7, 300, 6)
    logits, labels = tensors(decision, targets)
    assert auroc(decision, targets).value == pytest.approx(100 * MulticlassAUROC(6)(logits, labels).item(), abs=1e-4)
    expected = MulticlassAveragePrecision(6)(logits, labels).item()
    assert average_precision(decision, targets).value == pytest.approx(100 * expected, abs=1e-4)


@pytest.mark.parametrize("kinds", [None, 8, 2])
def test_two_classes_are_judged_by_class_1(kinds):
    for seed in range(4):
        decision, targets = one_label(seed, 90, 2, kinds)
        margin = decision[:, 1] - decision[:, 0]
        assert auroc(decision, targets).value == pytest.approx(100 * roc_auc_score(targets, margin), abs=1e-9)
        expected = 100 * average_precision_score(targets, margin)
        assert average_precision(decision, targets).value == pytest.approx(expected, abs=1e-9)
        share, labels = tensors(softmax(decision, axis=1)[:, 1], targets)
        assert auroc(decision, targets).value == pytest.approx(100 * BinaryAUROC()(share, labels).item(), abs=1e-4)
        expected = 100 * BinaryAveragePrecision()(share, labels).item()
        assert average_precision(decision, targets).value == pytest.approx(expected, abs=1e-4)
        assert auroc(decision[:, ::-1], 1 - targets).value == pytest.approx(auroc(decision, targets).value)


@pytest.mark.parametrize("decimals", [None, 0])
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_several_labels_with_some_ignored(decimals, ignored):
    scores, targets = several_labels(3, 200, 4, decimals, ignored)
    kept = [targets[:, c] != -1 for c in range(4)]
    areas = [roc_auc_score(targets[rows, c], scores[rows, c]) for c, rows in enumerate(kept)]
    precisions = [average_precision_score(targets[rows, c], scores[rows, c]) for c, rows in enumerate(kept)]
    assert auroc(scores, targets.astype(np.int8)).value == pytest.approx(100 * np.mean(areas), abs=1e-9)
    assert average_precision(scores, targets).value == pytest.approx(100 * np.mean(precisions), abs=1e-9)
    logits, labels = tensors(scores, targets)
    expected = 100 * MultilabelAUROC(4, ignore_index=-1)(logits, labels).item()
    assert auroc(scores, targets).value == pytest.approx(expected, abs=1e-4)
    expected = 100 * MultilabelAveragePrecision(4, ignore_index=-1)(logits, labels).item()
    assert average_precision(scores, targets).value == pytest.approx(expected, abs=1e-4)


def test_the_area_is_the_share_of_won_pairs():
    scores, targets = several_labels(5, 40, 3, decimals=0)
    expected = [by_pairs(scores[:, c], targets[:, c] == 1) for c in range(3)]
    assert auroc(scores, targets).value == pytest.approx(100 * np.mean(expected), abs=1e-10)


def test_equal_scores_are_guessing():
    targets = np.array([0, 0, 0, 1])
    assert auroc(np.zeros((4, 2)), targets).value == 50
    assert average_precision(np.zeros((4, 2)), targets).value == pytest.approx(25)
    assert auroc(np.zeros((6, 3)), np.arange(6) % 3).value == 50
    assert average_precision(np.zeros((6, 3)), np.arange(6) % 3).value == pytest.approx(100 / 3)


def test_a_constant_added_to_an_item_changes_nothing():
    decision, targets = one_label(2, 120, 4)
    shifted = decision + np.random.default_rng(0).normal(size=(120, 1)) * 5
    for metric, _ in BOTH:
        assert metric(shifted, targets).value == pytest.approx(metric(decision, targets).value, abs=1e-9)


def test_large_margins_are_still_told_apart():
    """Shares of softmax would all round to 1, and the two classes of the first three items could not be ranked."""
    decision = np.array([[0.0, 60.0], [0.0, 70.0], [0.0, 80.0], [0.0, -9.0]])
    assert auroc(decision, np.array([0, 1, 1, 0])).value == 100
    assert auroc(decision, np.array([1, 0, 0, 1])).value == 0


def test_odds_keep_their_digits_at_both_ends():
    decision = np.random.default_rng(1).normal(size=(50, 4)) * 20
    # With 50 digits more than float64 has, by plain arithmetic.
    from decimal import Decimal, getcontext

    getcontext().prec = 70
    for row, odds in zip(decision, class_scores(decision), strict=True):
        exact = [Decimal(float(value)).exp() for value in row]
        for share, got in zip(exact, odds, strict=True):
            assert got == pytest.approx(float((share / (sum(exact) - share)).ln()), rel=1e-12, abs=1e-12)


def test_votes_of_nearest_neighbours_keep_their_ties():
    """A class without a vote has a floor of 1e-12 for its share, and the rest of a row must not tell two such items apart."""
    rng = np.random.default_rng(4)
    votes = rng.multinomial(3, np.full(6, 1 / 6), size=200) / 3
    targets = np.array([rng.choice(6, p=0.7 * row + 0.05) for row in votes])
    marks = np.eye(6, dtype=int)[targets]
    decision = np.log(np.maximum(votes, 1e-12))
    assert auroc(decision, targets).value == pytest.approx(100 * roc_auc_score(marks, votes), abs=1e-10)
    expected = 100 * average_precision_score(marks, votes, average="macro")
    assert average_precision(decision, targets).value == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("metric", "resampled"), BOTH)
def test_resamples_are_whole_data_sets_and_the_same_for_every_backbone(metric, resampled):
    first, targets = several_labels(11, 50, 3, decimals=1)
    second = first + np.random.default_rng(12).normal(size=first.shape)
    counts = np.random.default_rng(2007).multinomial(50, np.full(50, 1 / 50), size=200)
    for scores in (first, second):
        score, values = resampled(scores, targets)
        assert (score, len(values)) == (metric(scores, targets), 200)
        bare = metric(scores, targets, resamples=0)
        assert bare.value == score.value
        assert np.isnan([bare.stderr, *bare.ci95]).all()
        for r in range(0, 200, 20):
            rows = np.repeat(np.arange(50), counts[r])
            assert values[r] == pytest.approx(metric(scores[rows], targets[rows], resamples=0).value, abs=1e-10)


@pytest.mark.parametrize(("metric", "resampled"), BOTH)
def test_stderr_is_that_of_an_explicit_bootstrap(metric, resampled):
    decision, targets = one_label(1, 150, 3)
    rng = np.random.default_rng(5)
    values = []
    for _ in range(600):
        rows = rng.integers(150, size=150)
        values.append(metric(decision[rows], targets[rows], resamples=0).value)
    score = metric(decision, targets)
    # 200 resamples know a standard deviation to about 1/sqrt(2 * 200) = 5 %.
    assert score.stderr == pytest.approx(np.std(values), rel=0.2)
    assert score.ci95 == pytest.approx((score.value - 1.96 * score.stderr, score.value + 1.96 * score.stderr), abs=1e-3)
    assert score.n == 150


@pytest.mark.parametrize(("metric", "resampled"), BOTH)
def test_a_class_that_a_resample_lost_is_left_out_of_it(metric, resampled):
    scores, targets = several_labels(4, 60, 2)
    targets[:, 1] = 0
    targets[scores[:, 1].argmin(), 1] = 1
    lone = int(scores[:, 1].argmin())
    counts = np.random.default_rng(2007).multinomial(60, np.full(60, 1 / 60), size=200)
    _, values = resampled(scores, targets)
    alone = metric(scores[:, :1], targets[:, :1])
    assert alone.value > metric(scores, targets).value
    _, first = resampled(scores[:, :1], targets[:, :1])
    lost = counts[:, lone] == 0
    assert 0.2 < lost.mean() < 0.5
    np.testing.assert_allclose(values[lost], first[lost])
    assert (values[~lost] < first[~lost]).all()


@pytest.mark.parametrize(
    ("metric", "decision", "targets", "message"),
    [
        (auroc, np.zeros((2, 2)), np.array([0, 0]), r"a positive item in every class, got none in classes \[0\]"),
        (auroc, np.zeros((2, 2)), np.array([1, 1]), r"a negative item in every class, got none in classes \[0\]"),
        (auroc, np.zeros((3, 3)), np.array([0, 1, 1]), r"a positive item in every class, got none in classes \[2\]"),
        (average_precision, np.zeros((3, 3)), np.array([0, 1, 1]), r"a positive item .* in classes \[2\]"),
        (auroc, np.zeros((2, 2)), np.array([[1, 0], [1, -1]]), r"a positive item .* in classes \[1\]"),
        (auroc, np.zeros((2, 2)), np.array([[1, 0], [1, 1]]), r"a negative item .* in classes \[0\]"),
        (auroc, np.zeros((2, 2)), np.array([0, 2]), r"expected classes in \[0, 2\), got 2 at row 1"),
        (auroc, np.array([[0, np.nan], [0, 1]]), np.array([0, 1]), "nan or inf in 1 rows, first in row 0"),
        (average_precision, np.zeros((2, 2)), np.array([[1, 0], [2, 1]]), r"only 1, 0 and -1, got \[2, 1\] at row 1"),
    ],
)
def test_bad_input_is_refused(metric, decision, targets, message):
    with pytest.raises(ValueError, match=message):
        metric(decision, targets)
