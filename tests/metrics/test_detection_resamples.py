"""Detection scores on resamples of the pictures: each is the score of a data set that has its pictures as often as drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sslbench.metrics import detection_curves
from sslbench.metrics.detection import Detections, Truth, detection_scores
from sslbench.metrics.detection_curves import VOC_LEVELS, average_precisions
from sslbench.metrics.detection_matching import voc_judged
from sslbench.metrics.resampling import resample_counts
from tests.metrics.detection_data import crowded, detections, objects, per_class, pictures, summary

RESAMPLES, IMAGES = 12, 9


def anew(found: Detections, truth: Truth, counts: np.ndarray) -> dict[str, float]:
    """By the rules written out; no two detections of one data set have equal scores, apart from those of one drawn twice."""
    return summary(per_class(*pictures(found, truth, np.repeat(np.arange(truth.images), counts)), 3))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_is_the_score_of_its_pictures(seed: int) -> None:
    found, truth = crowded(seed, images=IMAGES, scores=0)
    scores = detection_scores(found, truth, 3, resamples=RESAMPLES)
    expected = [anew(found, truth, counts) for counts in resample_counts(IMAGES, RESAMPLES).T]
    for name, values in scores.resampled.items():
        column = [values_of[name] for values_of in expected]
        assert scores.scores[name].value == pytest.approx(column[0], abs=1e-9)
        np.testing.assert_allclose(values, column[1:], rtol=0, atol=1e-9, err_msg=name)
        assert scores.scores[name].stderr == pytest.approx(np.std(column[1:], ddof=1))
        assert np.std(column[1:]) > 0


def test_those_of_two_detectors_are_of_the_same_pictures() -> None:
    found, truth = crowded(4, images=IMAGES, scores=0)
    other = replace(found, boxes=found.boxes + np.float32([1, 0, 1, 0]))
    first, second = (detection_scores(each, truth, 3, resamples=RESAMPLES) for each in (found, other))
    columns = resample_counts(IMAGES, RESAMPLES).T[1:]
    expected = [anew(found, truth, counts)["AP"] - anew(other, truth, counts)["AP"] for counts in columns]
    np.testing.assert_allclose(first.resampled["AP"] - second.resampled["AP"], expected, atol=1e-9)
    assert np.std(expected) > 0


def test_the_score_does_not_depend_on_how_many_are_drawn_or_how_they_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    found, truth = crowded(6, images=80, found=8)
    scores = detection_scores(found, truth, 3)
    bare = detection_scores(found, truth, 3, resamples=0)
    np.testing.assert_array_equal(scores.per_class, bare.per_class)
    for name, score in scores.scores.items():
        assert score.value == bare.scores[name].value
        assert np.isnan([bare.scores[name].stderr, *bare.scores[name].ci95]).all()
        assert (len(bare.resampled[name]), len(scores.resampled[name])) == (0, 200)
        assert 0 <= score.ci95[0] < score.value < score.ci95[1] <= 100
    monkeypatch.setattr(detection_curves, "_BLOCK", 1000)
    apart = detection_scores(found, truth, 3)
    assert all(np.array_equal(scores.resampled[name], apart.resampled[name]) for name in scores.resampled)


def test_a_resample_without_a_class_or_without_any_object_leaves_it_out() -> None:
    truth = objects(4, [(0, 0, 0, 0, 0, 10, 10), (1, 1, 0, 0, 0, 10, 10)])
    found = detections([(0, 0, 0.9, 0, 0, 10, 10)])
    scores = detection_scores(found, truth, 3)
    drawn = resample_counts(4)[:, 1:]
    both = (drawn[0] > 0).astype(float) + (drawn[1] > 0)
    expected = np.divide(100.0 * (drawn[0] > 0), both, out=np.full(200, np.nan), where=both > 0)
    assert 0 < np.isnan(expected).sum() < 100
    for values in scores.resampled.values():
        np.testing.assert_allclose(values, expected)
    assert scores.scores["AP"].stderr == pytest.approx(np.nanstd(expected, ddof=1))


def test_counts_too_large_for_half_the_width_are_added_as_well() -> None:
    found, truth = crowded(8, images=30)
    judged, once = voc_judged(found, truth, 3), np.ones((30, 1), dtype=np.int64)
    few, many = (average_precisions(judged, truth, once * times, VOC_LEVELS) for times in (1, 2**30))
    np.testing.assert_allclose(few, many)
