"""Errors of depth, against plain loops and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_percentage_error, root_mean_squared_error

from sslbench.metrics.depth_errors import DepthErrors
from sslbench.metrics.score import Score
from tests.metrics.repeated import check_resamples, of_all


def pictures(seed: int = 0) -> list[tuple]:
    rng, pairs = np.random.default_rng(seed), []
    for number in range(6):
        truth = rng.uniform(0.5, 9, size=(8 + number, 10)).astype(np.float32)
        predicted = (truth * rng.lognormal(0, 0.1 + 0.1 * number, size=truth.shape)).astype(np.float32)
        gone = rng.random(truth.shape) < 0.2
        truth[gone], predicted[gone] = 0, -1
        pairs.append((truth, predicted))
    return pairs


def test_scores_are_pooled_over_all_pixels_that_count():
    pairs = pictures()
    there = np.concatenate([truth[truth > 0] for truth, _ in pairs]).astype(float)
    found = np.concatenate([predicted[truth > 0] for truth, predicted in pairs]).astype(float)
    scores = of_all(DepthErrors(), pairs).scored().scores
    assert scores["rmse"].value == pytest.approx(root_mean_squared_error(there, found))
    assert scores["abs_rel"].value == pytest.approx(100 * mean_absolute_percentage_error(there, found))
    for power in (1, 2, 3):
        near = sum(max(t / f, f / t) < 1.25**power for t, f in zip(there.tolist(), found.tolist(), strict=True))
        assert scores[f"delta_{power}"].value == pytest.approx(100 * near / len(there))
    assert list(scores) == ["rmse", "abs_rel", "delta_1", "delta_2", "delta_3"]


def test_by_hand():
    scores = DepthErrors()
    truth, predicted = np.array([[2.0, 4.0, 0.0, 8.0]]), np.array([[2.0, 5.0, 7.0, 4.0]])
    assert scores.add(truth, predicted) == pytest.approx(math.sqrt(17 / 3))
    values = {name: score.value for name, score in scores.scored().scores.items()}
    # A ratio of 1.25 is not below it.
    expected = {"rmse": math.sqrt(17 / 3), "abs_rel": 25, "delta_1": 100 / 3, "delta_2": 200 / 3, "delta_3": 200 / 3}
    assert values == pytest.approx(expected)


def test_nothing_wrong():
    truth = np.full((2, 3), 2.5, np.float32)
    scores = of_all(DepthErrors(), [(truth, truth)] * 3).scored().scores
    assert [score.value for score in scores.values()] == [0, 0, 100, 100, 100]


def test_resamples_are_of_repeated_pictures():
    check_resamples(DepthErrors, pictures(4))


def test_units_and_limits():
    scores = of_all(DepthErrors(), pictures()).scored().scores
    assert [(s.unit, s.higher_is_better) for s in scores.values()] == [("m", False), ("%", False), *[("%", True)] * 3]
    truth = np.ones((2, 2))
    wide = of_all(DepthErrors(), [(truth, truth), (truth, 90 * truth)]).scored().scores
    # No error is below 0, and none too large.
    assert wide["rmse"].ci95[0] == 0 and wide["abs_rel"].ci95[1] > 100
    assert Score.from_json(wide["rmse"].to_json()) == wide["rmse"]


def test_pictures_without_depth_change_nothing():
    scores = of_all(DepthErrors(), pictures())
    before = scores.scored().scores["rmse"].value
    assert math.isnan(scores.add(np.zeros((4, 4)), np.zeros((4, 4))))
    assert scores.scored().scores["rmse"].value == before


ONE = np.ones((2, 2))


@pytest.mark.parametrize(
    ("truth", "predicted", "told"),
    [
        (ONE, np.ones((2, 3)), r"predicted: expected the shape of the truth, \(2, 2\), got \(2, 3\)"),
        (ONE.astype(int), ONE, r"truth: expected real numbers \(H, W\), got int64 \(2, 2\)"),
        (-ONE, ONE, "truth: expected metres, and 0 where nothing is known, got others at 4 pixels"),
        (ONE * np.nan, ONE, "truth: expected metres, and 0 where nothing is known, got others at 4 pixels"),
        (ONE, 0 * ONE, "predicted: expected metres above 0 where there is a truth, got others at 4 of 4 pixels"),
        (ONE, np.inf * ONE, "predicted: expected metres above 0"),
    ],
)
def test_what_is_refused_counts_for_nothing(truth, predicted, told):
    scores = DepthErrors()
    with pytest.raises(ValueError, match=told):
        scores.add(truth, predicted)
    with pytest.raises(ValueError, match="no picture was added"):
        scores.scored()
