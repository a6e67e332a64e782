"""Calibration errors against torchmetrics, scikit-learn, netcal's numbers and a loop over bins, and on calibrated items."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from sslbench.metrics import (
    adaptive_calibration_error,
    brier_score,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability_table,
)
from sslbench.metrics.resampling import resample_counts
from tests.metrics.calibration_data import Decided, calibrated, overconfident, saturated, softmax

ALL = [
    expected_calibration_error, adaptive_calibration_error, maximum_calibration_error, brier_score, negative_log_likelihood,
]  # fmt: skip
SAMPLES = [overconfident(0), overconfident(1, 37, 3), overconfident(2, 1000, 2), calibrated(3, 500), saturated(4)]


def by_loop(decision: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Expected and maximum calibration error in percent, one bin after the other."""
    confidence, right = softmax(decision).max(axis=1), decision.argmax(axis=1) == targets
    expected, gaps = 0.0, []
    for place in range(15):
        low, high = np.linspace(0, 1, 16)[place : place + 2]
        inside = (confidence >= low) & ((confidence < high) | (place == 14))
        if inside.any():
            gaps.append(abs(right[inside].mean() - confidence[inside].mean()))
            expected += inside.mean() * gaps[-1]
    return 100 * expected, 100 * max(gaps)


@pytest.mark.parametrize("sample", SAMPLES)
def test_expected_and_maximum_error_are_torchmetrics_and_the_loop(sample: Decided) -> None:
    decision, targets = sample
    errors = [expected_calibration_error(decision, targets).value, maximum_calibration_error(decision, targets).value]
    assert errors == pytest.approx(by_loop(decision, targets), abs=1e-10)
    # torchmetrics puts a confidence of exactly 1 into a bin of its own.
    probabilities = torch.from_numpy(softmax(decision)).clamp(max=1 - 1e-7)
    for norm, error in zip(("l1", "max"), errors, strict=True):
        theirs = multiclass_calibration_error(
            probabilities, torch.from_numpy(targets), decision.shape[1], n_bins=15, norm=norm
        )
        assert error == pytest.approx(100 * float(theirs), abs=2e-4)


# netcal 1.4.0, ECE(15) and MCE(15) of float64 probabilities of `overconfident(seed)`.
NETCAL = {
    0: (0.21343874223079656, 0.33870559035506936),
    1: (0.2514601671035491, 0.432213677284259),
    2: (0.22659080570583043, 0.3061733021072469),
}


@pytest.mark.parametrize("seed", NETCAL)
def test_expected_and_maximum_error_are_netcals(seed: int) -> None:
    expected, largest = NETCAL[seed]
    assert expected_calibration_error(*overconfident(seed)).value == pytest.approx(100 * expected, abs=1e-9)
    assert maximum_calibration_error(*overconfident(seed)).value == pytest.approx(100 * largest, abs=1e-9)


def test_a_confidence_of_one_is_in_the_last_bin_and_an_edge_in_the_bin_above() -> None:
    # Confidences 1, 1, 0.9 and, exactly on an edge, 3/15 of five classes that are all alike.
    decision = np.array([[800.0, 0, 0, 0, 0], [0, 800.0, 0, 0, 0], [np.log(36), 0, 0, 0, 0], [0.0, 0, 0, 0, 0]])
    table = reliability_table(decision, np.array([0, 0, 0, 1]))
    assert table[14, 1:].tolist() == [2, 1, 0.5]
    assert table[13, 1:] == pytest.approx([1, 0.9, 1])
    assert np.flatnonzero(table[:, 1]).tolist() == [3, 13, 14]
    assert np.isnan(table[0, 2:]).all()
    assert expected_calibration_error(decision, np.array([0, 0, 0, 1])).value == pytest.approx(
        100 * (2 * 0.5 + 0.1 + 0.2) / 4
    )


@pytest.mark.parametrize("sample", SAMPLES)
def test_equal_mass_bins_are_scikit_learns(sample: Decided) -> None:
    decision, targets = sample
    confidence, right = softmax(decision).max(axis=1), decision.argmax(axis=1) == targets
    # Its own edges and sizes: the curve itself leaves the sizes out.
    edges = np.percentile(confidence, np.linspace(0, 1, 16) * 100)
    sizes = np.bincount(np.searchsorted(edges[1:-1], confidence), minlength=15)
    accuracy, mean = calibration_curve(right, confidence, n_bins=15, strategy="quantile")
    gaps = np.abs(accuracy - mean) * sizes[sizes > 0]
    assert adaptive_calibration_error(decision, targets).value == pytest.approx(100 * gaps.sum() / len(targets))


def test_equal_mass_bins_are_equal_parts_of_the_sorted_items() -> None:
    decision, targets = overconfident(5, 15 * 40)
    confidence, right = softmax(decision).max(axis=1), decision.argmax(axis=1) == targets
    parts = np.split(np.argsort(confidence), 15)
    expected = np.mean([abs(right[part].mean() - confidence[part].mean()) for part in parts])
    assert adaptive_calibration_error(decision, targets).value == pytest.approx(100 * expected)


@pytest.mark.parametrize("sample", SAMPLES[:4])
def test_the_proper_scores_are_their_definitions(sample: Decided) -> None:
    decision, targets = sample
    probabilities = softmax(decision)
    classes = np.eye(decision.shape[1])[targets]
    squares = ((probabilities - classes) ** 2).sum(axis=1)
    score = brier_score(decision, targets)
    assert score.value == pytest.approx(squares.mean())
    assert score.stderr == pytest.approx(squares.std() / math.sqrt(len(targets)), rel=0.2)
    score = negative_log_likelihood(decision, targets)
    assert score.value == pytest.approx(log_loss(targets, probabilities, labels=range(decision.shape[1])))
    assert score.value == pytest.approx(
        float(torch.nn.functional.cross_entropy(torch.from_numpy(decision), torch.from_numpy(targets)))
    )


@pytest.mark.parametrize(("metric", "unit"), list(zip(ALL, ["%", "%", "%", "", "nats"], strict=True)))
def test_units_directions_and_intervals(metric, unit: str) -> None:
    decision, targets = overconfident(6)
    score = metric(decision, targets)
    assert (score.unit, score.higher_is_better, score.n) == (unit, False, 600)
    low, high = (score.value + side * 1.96 * score.stderr for side in (-1, 1))
    assert score.ci95 == pytest.approx((low, min(high, 100.0)), rel=1e-3)
    assert math.isnan(metric(decision, targets, resamples=0).stderr)
    # Float32 decisions are computed with in float64, and a constant an item changes nothing.
    single = decision.astype(np.float32)
    assert metric(single, targets) == metric(single.astype(np.float64), targets)
    moved = metric(decision + np.random.default_rng(0).normal(size=(600, 1)), targets)
    assert moved.value == pytest.approx(score.value, rel=1e-9)


def test_a_resample_is_the_error_of_its_items() -> None:
    decision, targets = overconfident(7, 120)
    drawn = resample_counts(120)[:, 1:].T
    errors = [by_loop(*(np.repeat(part, counts, axis=0) for part in (decision, targets))) for counts in drawn]
    for metric, values in zip((expected_calibration_error, maximum_calibration_error), np.array(errors).T, strict=True):
        assert metric(decision, targets).stderr == pytest.approx(values.std(ddof=1))


def test_calibrated_items_have_an_error_that_falls_to_zero_as_its_bias_says() -> None:
    for n in (2_000, 200_000):
        decision, targets = calibrated(8, n)
        table = reliability_table(decision, targets)
        items, p = table[:, 1], np.nan_to_num(table[:, 2])
        bias = 100 * math.sqrt(2 / math.pi) * np.sqrt(items * p * (1 - p)).sum() / n
        assert expected_calibration_error(decision, targets, resamples=0).value == pytest.approx(bias, rel=0.5)
    assert expected_calibration_error(decision, targets, resamples=0).value < 0.4
    assert adaptive_calibration_error(decision, targets, resamples=0).value < 0.4


@pytest.mark.parametrize("metric", [*ALL, reliability_table])
@pytest.mark.parametrize(
    ("decision", "targets", "told"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), r"decision: expected shape \(N, K\)"),
        (np.zeros((2, 3)), np.array([0, 3]), r"targets: expected classes in \[0, 3\), got 3 at row 1"),
        (np.array([[0.0, np.nan]]), np.array([0]), "decision: expected finite values"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), "targets: expected shape"),
    ],
)
def test_what_cannot_be_scored_is_refused(metric, decision, targets, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        metric(decision, targets)
