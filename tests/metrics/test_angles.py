"""Angles between normals, against known rotations and medians of all pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sslbench.metrics.angles import Angles, angles_between
from tests.metrics.repeated import check_resamples, of_all

NAMES = ["mean_angle", "median_angle", "within_11.25", "within_22.5", "within_30"]


def directions(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(*shape, 3))
    return (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(np.float32)


def turned(vectors: np.ndarray, degrees: np.ndarray | float, seed: int = 1) -> np.ndarray:
    """The vectors turned about random axes that are perpendicular to them, and of random lengths."""
    rng = np.random.default_rng(seed)
    vectors = vectors.astype(float)
    aside = np.cross(vectors, rng.normal(size=vectors.shape))
    aside /= np.maximum(np.linalg.norm(aside, axis=2, keepdims=True), 1e-300)
    angle = np.broadcast_to(np.radians(degrees), vectors.shape[:2])[..., None]
    length = rng.uniform(0.1, 9, size=(*vectors.shape[:2], 1))
    return (length * (np.cos(angle) * vectors + np.sin(angle) * aside)).astype(np.float32)


def pictures(seed: int = 0, count: int = 7) -> tuple[list[tuple], list[np.ndarray]]:
    """Pictures with pixels without a normal, and the degrees between truth and prediction where there is one."""
    rng, pairs, degrees = np.random.default_rng(seed), [], []
    for number in range(count):
        shape = (9 + number, 14)
        truth = directions(shape, seed + number)
        angles = rng.gamma(2, 8 + 3 * number, size=shape).clip(0, 180)
        predicted = turned(truth, angles, number)
        gone = rng.random(shape) < 0.2
        truth[gone] = 0
        predicted[gone] = [0, 0, np.nan]
        pairs.append((truth, predicted))
        degrees.append(angles[~gone])
    return pairs, degrees


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(0, (0, 0, 100, 100, 100)), (20, (20, 20, 0, 100, 100)), (180, (180, 180, 0, 0, 0)), (45, (45, 45, 0, 0, 0))],
)
def test_turned_by_one_angle(degrees, expected):
    truth = directions((40, 30))
    scores = Angles()
    assert scores.add(truth, turned(truth, degrees)) == pytest.approx(degrees, abs=1e-3)
    found = {name: score.value for name, score in scores.scored().scores.items()}
    assert list(found) == NAMES
    assert list(found.values()) == pytest.approx(expected, abs=1e-3)


def test_scores_are_pooled_over_all_pixels_that_count():
    pairs, degrees = pictures()
    every = np.concatenate(degrees)
    scores = {name: score.value for name, score in of_all(Angles(), pairs).scored().scores.items()}
    assert scores["mean_angle"] == pytest.approx(every.mean(), rel=1e-5)
    assert scores["median_angle"] == pytest.approx(np.median(every), abs=0.01)
    for limit in (11.25, 22.5, 30):
        assert scores[f"within_{limit:g}"] == pytest.approx(100 * (every < limit).mean())
    each = Angles()
    for (truth, predicted), angles in zip(pairs, degrees, strict=True):
        assert each.add(truth, predicted) == pytest.approx(angles.mean(), rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 11, 4000])
def test_the_median_is_off_by_a_hundredth_at_most(count):
    for seed in range(6):
        degrees = np.random.default_rng(seed).uniform(0, [180, 1][seed % 2], size=(1, count))
        truth = directions((1, count), seed)
        scores = Angles()
        scores.add(truth, turned(truth, degrees))
        assert scores.scored().scores["median_angle"].value == pytest.approx(np.median(degrees), abs=0.01)


def test_resamples_are_of_repeated_pictures():
    check_resamples(Angles, pictures(5)[0])


def test_resamples_with_medians_far_apart():
    truth = directions((3, 5))
    check_resamples(Angles, [(truth, turned(truth, angle)) for angle in (0, 0, 90, 180, 180)])


def test_large_pictures_are_taken_in_pieces():
    truth, degrees = directions((170, 200)), np.random.default_rng(0).uniform(0, 180, size=(170, 200))
    truth[80:90, 3:] = 0
    np.testing.assert_allclose(angles_between(truth, turned(truth, degrees)), degrees[truth.any(axis=2)], atol=1e-3)


def test_units_and_limits():
    truth = directions((3, 5))
    scores = of_all(Angles(), [(truth, turned(truth, angle)) for angle in (0, 180)]).scored().scores
    assert {name: (score.unit, score.higher_is_better) for name, score in scores.items()} == {
        name: ("degrees", False) if name.endswith("angle") else ("%", True) for name in NAMES
    }
    assert scores["mean_angle"].ci95 == (0, 180) and scores["within_30"].ci95 == (0, 100)


def test_a_limit_is_not_within(monkeypatch):
    # Angles that no vectors have to the last bit.
    monkeypatch.setattr("sslbench.metrics.angles.angles_between", lambda *given: np.array([11.25, 22.5, 30, 180]))
    scores = of_all(Angles(), [(directions((1, 4)), directions((1, 4)))]).scored().scores
    assert [scores[f"within_{limit}"].value for limit in ("11.25", "22.5", "30")] == [0, 25, 50]
    assert scores["median_angle"].value == pytest.approx((22.5 + 30) / 2)


def test_angles_by_hand():
    truth = np.array([[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]]])
    predicted = np.array([[[0.0, 2.0, 2.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]])
    np.testing.assert_allclose(angles_between(truth, predicted), [45, 180])


def test_pictures_without_normals_change_nothing():
    pairs, _ = pictures()
    scores = of_all(Angles(), pairs)
    before = scores.scored().scores["median_angle"].value
    assert math.isnan(scores.add(np.zeros((4, 4, 3)), np.zeros((4, 4, 3))))
    assert scores.scored().scores["median_angle"].value == before
    empty = of_all(Angles(), [(np.zeros((4, 4, 3)), np.ones((4, 4, 3)))])
    with pytest.raises(ValueError, match="no pixel of 1 pictures counts"):
        empty.scored()


ONE = np.ones((2, 2, 3))


@pytest.mark.parametrize(
    ("truth", "predicted", "told"),
    [
        (ONE, np.ones((2, 3, 3)), r"predicted: expected the shape of the truth, \(2, 2, 3\), got \(2, 3, 3\)"),
        (ONE[..., :2], ONE[..., :2], r"truth: expected real numbers \(H, W, 3\), got float64 \(2, 2, 2\)"),
        (ONE.astype(np.uint8), ONE, "truth: expected real numbers"),
        (np.full((2, 2, 3), np.nan), ONE, "truth: expected finite vectors, and 0 where there is none, got nan or inf"),
        (ONE, ONE * 0, r"predicted: expected finite vectors longer than 0 .*, got \[0.0, 0.0, 0.0\]"),
        (ONE, ONE * np.inf, "predicted: expected finite vectors longer than 0"),
    ],
)
def test_what_is_refused_counts_for_nothing(truth, predicted, told):
    scores = Angles()
    with pytest.raises(ValueError, match=told):
        scores.add(truth, predicted)
    with pytest.raises(ValueError, match="no picture was added"):
        scores.scored()
