"""Scores of sums over items: what the mechanism gives against the score computed anew on every resample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_jaccard_index

from sslbench.metrics.resampling import Scale, pooled_score, resample_counts
from sslbench.metrics.score import Score

CLASSES, PICTURES, PIXELS = 4, 23, 50
DEGREES = Scale("degrees", higher_is_better=False, limits=(0.0, 180.0))


def mean_overlap(confusion: np.ndarray) -> float:
    """In percent, from (K, K)."""
    return 100 * float((confusion.diagonal() / (confusion.sum(0) + confusion.sum(1) - confusion.diagonal())).mean())


def mean_angle(sums: np.ndarray) -> float:
    """From a sum of degrees and a number of pixels."""
    return float(sums[0] / sums[1]) if sums[1] else np.nan


@pytest.fixture(scope="module")
def masks() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(CLASSES, size=(PICTURES, PIXELS))
    return truth, np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(CLASSES, size=truth.shape))


def test_mean_overlap_is_torchmetrics_on_every_resample(masks: tuple[np.ndarray, np.ndarray]) -> None:
    truth, found = masks
    statistics = np.stack(
        [np.bincount(t * CLASSES + f, minlength=CLASSES**2).reshape(CLASSES, -1) for t, f in zip(*masks, strict=True)]
    )
    score, resampled = pooled_score(statistics, mean_overlap, Scale(), resamples=30)

    def anew(rows: np.ndarray) -> float:
        pair = torch.from_numpy(found[rows]), torch.from_numpy(truth[rows])
        return 100 * float(multiclass_jaccard_index(*pair, num_classes=CLASSES))

    assert score.value == pytest.approx(anew(np.arange(PICTURES)), rel=1e-6)
    drawn = resample_counts(PICTURES, 30)[:, 1:].T
    expected = [anew(np.repeat(np.arange(PICTURES), counts)) for counts in drawn]
    np.testing.assert_allclose(resampled, expected, rtol=1e-5)
    assert score.stderr == pytest.approx(np.std(expected, ddof=1), rel=1e-4)
    assert (score.n, score.unit, score.higher_is_better) == (PICTURES, "%", True)
    assert score.ci95 == pytest.approx((score.value - 1.96 * score.stderr, score.value + 1.96 * score.stderr), rel=1e-4)


def test_a_mean_angle_is_pooled_over_pixels_and_falls_when_better() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(1, 90, size=40)
    angles = [rng.uniform(0, 170, size=count) for count in pixels]
    statistics = np.array([(part.sum(), part.size) for part in angles])
    score, resampled = pooled_score(statistics, mean_angle, DEGREES)
    assert score.value == pytest.approx(np.concatenate(angles).mean())
    counts = resample_counts(40)[:, 1:].T
    expected = [np.concatenate([angles[i] for i in np.repeat(np.arange(40), c)]).mean() for c in counts]
    np.testing.assert_allclose(resampled, expected)
    assert (score.unit, score.higher_is_better) == ("degrees", False)
    assert Score.from_json(score.to_json()) == score


def test_the_standard_error_is_that_of_a_mean_where_it_is_one() -> None:
    values = np.random.default_rng(2).normal(50, 10, size=400)
    score, _ = pooled_score(np.stack([values, np.ones(400)], axis=1), mean_angle, DEGREES, resamples=2000)
    assert score.stderr == pytest.approx(values.std() / 20, rel=0.05)


def test_resamples_without_a_value_are_left_out_and_limits_hold() -> None:
    statistics = np.array([[3.0, 1.0], *[[0.0, 0.0]] * 3])
    score, resampled = pooled_score(statistics, mean_angle, DEGREES, resamples=50)
    assert 0 < np.isnan(resampled).sum() < 50
    assert (score.value, score.stderr) == (3.0, 0.0)
    wide, _ = pooled_score(np.array([[1.0, 1.0], [179.0, 1.0]]), mean_angle, DEGREES, resamples=50)
    assert wide.ci95 == (0.0, 180.0)


def test_the_draws_depend_on_the_number_of_items_alone() -> None:
    assert resample_counts(7, 5).sum(axis=0).tolist() == [7] * 6
    assert np.array_equal(resample_counts(7, 5), resample_counts(7, 5))
    assert resample_counts(7, 5)[:, 0].tolist() == [1] * 7


@pytest.mark.parametrize(
    ("statistics", "told"),
    [
        (np.empty((0, 2)), r"at least one item, got \(0, 2\)"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "nan or inf in 1 items, first in 1"),
        (np.zeros((3, 2)), "undefined on these items"),
    ],
)
def test_what_cannot_be_scored_is_refused(statistics: np.ndarray, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        pooled_score(statistics, mean_angle, DEGREES)
