"""Single-label metrics against scikit-learn, torchmetrics, scipy and simulation."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from torchmetrics.classification import MulticlassAccuracy

from sslbench.metrics import correct, mean_per_class, top1
from sslbench.metrics.classification import wilson_interval


def unbalanced(seed, n=400, k=7, dtype=np.float64):
    """Decisions that favour the true class and the larger classes, of very different sizes; every class present."""
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(k), rng.choice(k, n - k, p=np.arange(1, k + 1) / (k * (k + 1) / 2))])
    decision = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[targets] + np.linspace(0, 1, k)
    return decision.astype(dtype), targets


def deciding(predictions, k):
    return np.eye(k)[np.asarray(predictions)]


def test_correct_takes_the_first_of_equal_maxima():
    decision = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 2.0, 2.0]])
    assert correct(decision, np.array([0, 1, 1])).tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_top1_and_mean_per_class_agree_with_sklearn_and_torchmetrics(seed, dtype):
    decision, targets = unbalanced(seed, dtype=dtype)
    predictions = decision.argmax(axis=1)
    macro = MulticlassAccuracy(num_classes=7, average="macro")(torch.tensor(predictions), torch.tensor(targets))
    assert top1(decision, targets).value == pytest.approx(100 * accuracy_score(targets, predictions), abs=1e-10)
    ours = mean_per_class(decision, targets).value
    assert ours == pytest.approx(100 * balanced_accuracy_score(targets, predictions), abs=1e-10)
    assert ours == pytest.approx(100 * float(macro), abs=1e-4)
    assert abs(ours - top1(decision, targets).value) > 2  # or the two metrics would not be told apart


def test_mean_per_class_leaves_out_a_class_that_is_only_predicted():
    targets = np.array([0, 0, 2, 2])
    score = mean_per_class(deciding([0, 1, 2, 2], k=4), targets)
    assert score.value == 75.0
    assert score.n == 4


def test_mean_per_class_of_one_class_is_top1_with_the_binomial_stderr():
    targets = np.zeros(50, dtype=np.int64)
    decision = deciding([0] * 40 + [1] * 10, k=2)
    assert mean_per_class(decision, targets).value == pytest.approx(80.0)
    assert mean_per_class(decision, targets).stderr == pytest.approx(top1(decision, targets).stderr)
    assert top1(decision, targets).stderr == pytest.approx(100 * np.sqrt(0.8 * 0.2 / 50))


def test_mean_per_class_stderr_is_the_spread_over_repeated_test_sets():
    rng = np.random.default_rng(0)
    sizes, rates = np.array([30, 60, 160]), np.array([0.5, 0.8, 0.7])
    targets = np.repeat(np.arange(3), sizes)
    scores = [
        mean_per_class(deciding(np.where(rng.random(250) < rates[targets], targets, 3), k=4), targets)
        for _ in range(2000)
    ]
    spread = np.std([score.value for score in scores])
    assert np.sqrt(np.mean([score.stderr**2 for score in scores])) == pytest.approx(spread, rel=0.05)
    truth = 100 * rates.mean()
    covered = np.mean([score.ci95[0] <= truth <= score.ci95[1] for score in scores])
    assert 0.93 <= covered <= 0.965


def test_mean_per_class_interval_is_clipped():
    targets = np.array([0] * 20 + [1])
    assert mean_per_class(deciding([0] * 19 + [1, 1], k=2), targets).ci95[1] == 100.0
    assert mean_per_class(deciding([1] * 19 + [0, 0], k=2), targets).ci95[0] == 0.0


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (0, 57), (57, 57), (1, 10), (29, 57), (9999, 10_000)])
def test_wilson_interval_agrees_with_scipy(hits, n):
    reference = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson_interval(hits, n) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_wilson_interval_always_contains_the_proportion():
    for n in (1, 3, 7, 49, 1000):
        for hits in range(n + 1):
            low, high = wilson_interval(hits, n)
            assert 0.0 <= low <= hits / n <= high <= 1.0


@pytest.mark.parametrize(("hits", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_interval_refuses_impossible_counts(hits, n):
    with pytest.raises(ValueError, match="0 <= hits <= n"):
        wilson_interval(hits, n)


@pytest.mark.parametrize("hits", [0, 30])
def test_top1_at_the_extremes_has_no_stderr_but_a_width(hits):
    score = top1(deciding([0] * hits + [1] * (30 - hits), k=2), np.zeros(30, dtype=np.int64))
    assert (score.value, score.stderr, score.n) == (100 * hits / 30, 0.0, 30)
    assert score.ci95[1] - score.ci95[0] == pytest.approx(11.35, abs=0.01)
    assert score.value in score.ci95


@pytest.mark.parametrize("metric", [correct, top1, mean_per_class])
@pytest.mark.parametrize(
    ("decision", "targets", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, dtype=int), r"N, K >= 1, got \(0, 3\)"),
        (np.zeros((3, 0)), np.zeros(3, dtype=int), r"N, K >= 1, got \(3, 0\)"),
        (np.zeros(3), np.zeros(3, dtype=int), r"shape \(N, K\)"),
        (np.zeros((3, 2)), np.zeros(2, dtype=int), r"expected shape \(3,\).*got \(2,\)"),
        (np.zeros((3, 2)), np.zeros((3, 1), dtype=int), r"expected shape \(3,\).*got \(3, 1\)"),
        (np.zeros((3, 2)), np.zeros(3), "integer classes, got dtype float64"),
        (np.zeros((3, 2), dtype=complex), np.zeros(3, dtype=int), "real numbers, got dtype complex128"),
        (np.zeros((3, 2)), np.array([0, 1, 2]), r"\[0, 2\), got 2 at row 2"),
        (np.zeros((3, 2)), np.array([0, -1, 7]), r"\[0, 2\), got -1 at row 1"),
        (np.array([[0, 0], [0, np.nan], [np.inf, 0]]), np.zeros(3, dtype=int), "in 2 rows, first in row 1"),
        (np.array([[0, 0], [0, 1], [-np.inf, 0]]), np.zeros(3, dtype=int), "in 1 rows, first in row 2"),
    ],
)
def test_bad_input_is_refused(metric, decision, targets, message):
    with pytest.raises(ValueError, match=message):
        metric(decision, targets)
