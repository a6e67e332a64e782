from __future__ import annotations

import numpy as np
import pytest

from sslbench.metrics.detection import detection_scores, precision_recall
from sslbench.metrics.detection_matching import coco_judged
from sslbench.metrics.detection_outcomes import class_scores, detection_outcomes
from tests.metrics.detection_data import crowded, detections, objects, per_class, voc_outcomes


@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_outcomes_are_in_the_order_given_and_as_the_rule_written_out(threshold: float) -> None:
    # All scores differ, so that sorting by them is the order of the rule.
    found, truth = crowded(3, images=60, scores=0)
    got = detection_outcomes(found, truth, 3, threshold)
    counts = set()
    for label in range(3):
        mine = np.flatnonzero(found.labels == label)
        mine = mine[np.argsort(-found.scores[mine])]
        expected, _ = voc_outcomes(found, truth, label, threshold)
        told = ["right" if r else "ignored" if i else "wrong" for r, i in zip(got.right, got.ignored, strict=True)]
        assert [told[m] for m in mine] == expected
        counts |= set(expected)
        assert got.taken[truth.labels == label].sum() == expected.count("right")
    assert counts == {"right", "ignored", "wrong"}
    assert not (got.taken & truth.difficult).any()


def test_the_object_that_is_found_is_the_one_taken() -> None:
    truth = objects(2, [(1, 0, 0, 40, 0, 60, 20), (0, 0, 0, 0, 0, 20, 20), (1, 0, 0, 0, 0, 20, 20)])
    found = detections([(0, 0, 0.2, 50, 0, 60, 10), (1, 0, 0.9, 0, 0, 20, 19), (1, 0, 0.8, 0, 0, 20, 20)])
    got = detection_outcomes(found, truth, 1)
    assert got.taken.tolist() == [False, False, True]
    assert got.right.tolist() == [False, True, False]


def test_by_cocos_rule_too_each_right_detection_takes_one_object() -> None:
    found, truth = crowded(5, images=80)
    judged = coco_judged(found, truth, 3)
    assert judged.hit.sum(axis=1).tolist() == judged.taken.sum(axis=1).tolist() != [0] * 10
    assert not judged.taken[:, truth.difficult].any()
    np.testing.assert_array_equal(found.image[judged.order], judged.image)


def test_scores_of_classes_are_those_behind_the_means() -> None:
    found, truth = crowded(7, images=80, classes=4, scores=0)
    got, scored = class_scores(found, truth, 4), detection_scores(found, truth, 4, resamples=0)
    voc, coco = per_class(found, truth, 4)
    for values, expected in (
        (got.ap, voc.mean(axis=0)), (got.ap50, voc[0]), (got.ap75, voc[5]), (got.ap_coco, coco.mean(axis=0)),
    ):  # fmt: skip
        np.testing.assert_allclose(values, expected, atol=1e-9)
    for name, values in (("AP", got.ap), ("AP50", got.ap50), ("AP75", got.ap75), ("AP_coco", got.ap_coco)):
        assert np.nanmean(values) == pytest.approx(scored.scores[name].value)
    assert got.objects.tolist() == [int(((truth.labels == c) & ~truth.difficult).sum()) for c in range(4)]
    assert got.objects[2] == 0 and got.curves[2] is None and np.isnan(got.ap[2])
    for label in (0, 1, 3):
        for one, other in zip(got.curves[label], precision_recall(found, truth, label)[:2], strict=True):
            np.testing.assert_array_equal(one, other)
