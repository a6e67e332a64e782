"""Detection scores against both rules written out, and cases small enough to tell by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sslbench.metrics.detection import (
    THRESHOLDS,
    Detections,
    Truth,
    detection_scores,
    image_average_precision,
    precision_recall,
)
from sslbench.metrics.detection_matching import as_written, coco_judged, first_choice, voc_judged
from tests.metrics.detection_data import (
    VOC_RECALLS,
    average_precision,
    coco_outcomes,
    crowded,
    detections,
    objects,
    per_class,
    pictures,
    summary,
    voc_outcomes,
)

NOTHING = detections([])
OUTCOMES = np.array(["wrong", "right", "ignored"])


def percent(found: Detections, truth: Truth, classes: int = 1) -> dict[str, float]:
    return {name: score.value for name, score in detection_scores(found, truth, classes, resamples=0).scores.items()}


@pytest.mark.parametrize("step", [1.0, 0.25])
@pytest.mark.parametrize("start", [0, 1000])
def test_small_data_sets_are_scored_as_by_both_rules_written_out(start: int, step: float) -> None:
    scored = 0
    for seed in range(start, start + 40):
        found, truth = crowded(seed, images=seed % 5 + 1, step=step)
        if truth.difficult.all():
            continue
        scores = detection_scores(found, truth, 3, resamples=0)
        expected = per_class(found, truth, 3)
        np.testing.assert_allclose(scores.per_class, expected, rtol=0, atol=1e-9, err_msg=f"seed {seed}")
        for name, value in summary(expected).items():
            assert scores.scores[name].value == pytest.approx(value, abs=1e-9), (seed, name)
        scored += 1
    assert scored >= 30


@pytest.mark.parametrize("step", [1.0, 0.25])
def test_every_detection_of_a_thousand_pictures_is_judged_as_by_both_rules_written_out(step: float) -> None:
    """One picture at a time, so that each is a case of its own."""
    found, truth = crowded(7, images=1000, step=step, found=5, there=3)
    seen = set()
    for judge, rule in ((voc_judged, voc_outcomes), (coco_judged, coco_outcomes)):
        judged = judge(found, truth, 3, np.array([0.5, 0.75]))
        code = OUTCOMES[judged.hit + 2 * judged.ignored]
        for image in range(0, 1000):
            only = pictures(found, truth, [image])
            for label in range(2):
                mine = np.arange(judged.starts[label], judged.starts[label + 1])
                mine = mine[judged.image[mine] == image]
                for t, threshold in enumerate((0.5, 0.75)):
                    expected, _ = rule(*only, label, threshold)
                    assert code[t, mine].tolist() == expected, (image, label, threshold)
                    seen.update(expected)
    assert seen == set(OUTCOMES)


def test_numbers_are_rounded_as_text_would_round_them() -> None:
    rng = np.random.default_rng(0)
    halves = np.arange(0, 64, dtype=np.float32) / 32  # what lies exactly between two decimals, among others
    nearly = np.arange(0, 64, dtype=np.float32) / 20  # a float32 that 1 is added to may come to lie on the other side
    boxes = np.concatenate([rng.uniform(0, 800, 4000), halves, halves + 250, nearly, rng.integers(0, 500, 32)])
    boxes = np.sort(boxes.astype(np.float32).reshape(-1, 4), axis=1)
    scores = np.resize(np.concatenate([rng.random(800).astype(np.float32), halves]), len(boxes))
    none = np.zeros(len(boxes), dtype=np.int64)
    written, shifted = as_written(Detections(none, boxes, none, scores))
    one = np.float32(1)
    expected = [
        [float(f"{x1 + one:.1f}"), float(f"{y1 + one:.1f}"), float(f"{x2:.1f}"), float(f"{y2:.1f}")]
        for x1, y1, x2, y2 in boxes
    ]
    assert written.tolist() == [float(f"{score:.3f}") for score in scores.tolist()]
    assert shifted.tolist() == expected


def test_the_pixel_that_is_added_is_the_one_that_counting_from_one_takes() -> None:
    """So boxes of whole pixels overlap as continuous ones, and VOC's rule differs by rounding alone."""
    found, truth = crowded(3, images=200)
    found = replace(found, scores=np.round(found.scores, 3))
    plain = first_choice(
        found,
        *map(np.float64, (found.scores, found.boxes)),
        truth,
        truth.boxes.astype(np.float64),
        3,
        THRESHOLDS,
        edge=0.0,
    )
    voc = voc_judged(found, truth, 3)
    assert np.array_equal(voc.hit, plain.hit)
    assert np.array_equal(voc.ignored, plain.ignored)
    assert voc.hit.any()


def test_a_difficult_object_is_neither_found_nor_missed() -> None:
    truth = objects(1, [(0, 0, 1, 0, 0, 10, 10), (0, 0, 0, 50, 0, 60, 10), (0, 0, 1, 90, 0, 99, 10)])
    found = detections([(0, 0, 0.9, 0, 0, 10, 10), (0, 0, 0.8, 0, 0, 10, 10), (0, 0, 0.7, 50, 0, 60, 10)])
    assert set(percent(found, truth).values()) == {100.0}
    easy = replace(truth, difficult=np.zeros(3, dtype=np.bool_))
    # Found, a duplicate, found: recall 2/3 at precision 2/3, and 1/3 at 1.
    assert percent(found, easy)["AP50"] == pytest.approx(100 * (4 * 1 + 3 * 2 / 3) / 11)


def test_a_second_detection_of_an_object_is_wrong() -> None:
    truth = objects(1, [(0, 0, 0, 0, 0, 10, 10), (0, 0, 0, 50, 0, 60, 10)])
    found = detections([(0, 0, 0.9, 0, 0, 10, 10), (0, 0, 0.8, 0, 0, 10, 10), (0, 0, 0.7, 50, 0, 60, 10)])
    scores = percent(found, truth)
    assert scores["AP"] == pytest.approx(100 * (6 * 1 + 5 * 2 / 3) / 11)
    assert scores["AP_coco"] == pytest.approx(100 * (51 * 1 + 50 * 2 / 3) / 101)


def test_a_detection_has_no_second_choice_by_vocs_rule() -> None:
    truth = objects(1, [(0, 0, 0, 0, 0, 10, 10), (0, 0, 0, 2, 0, 12, 10)])
    found = detections([(0, 0, 0.9, 0, 0, 10, 10), (0, 0, 0.8, 0, 0, 10, 10)])  # the other overlaps by 2/3
    scores = percent(found, truth)
    assert scores["AP50"] == pytest.approx(100 * 6 / 11)
    assert scores["AP50_coco"] == pytest.approx(100)
    assert scores["AP75_coco"] == pytest.approx(100 * 51 / 101)


def test_the_first_of_equal_objects_is_taken_and_the_last_by_cocos_rule() -> None:
    truth = objects(1, [(0, 0, 0, 0, 0, 10, 10), (0, 0, 1, 0, 0, 10, 10)])
    found = detections([(0, 0, 0.9, 0, 0, 10, 10)])
    assert percent(found, truth)["AP50"] == 100
    turned = objects(1, [(0, 0, 1, 0, 0, 10, 10), (0, 0, 0, 0, 0, 10, 10)])
    assert percent(found, turned)["AP50"] == 0
    assert percent(found, turned)["AP50_coco"] == 100  # an object comes before a crowd

    # Of two at equal overlap 2/3 the last is taken; the second detection overlaps the first object alone.
    pair = objects(1, [(0, 0, 0, 0, 0, 10, 10), (0, 0, 0, 4, 0, 14, 10)])
    both = detections([(0, 0, 0.9, 2, 0, 12, 10), (0, 0, 0.8, 0, 0, 10, 10)])
    assert percent(both, pair)["AP50_coco"] == pytest.approx(100)
    assert percent(both, pair)["AP50"] == pytest.approx(100 * 6 / 11)


def test_half_is_not_more_than_half() -> None:
    truth, found = objects(1, [(0, 0, 0, 0, 0, 10, 20)]), detections([(0, 0, 0.9, 0, 0, 10, 10)])
    assert percent(found, truth) == {"AP": 0, "AP50": 0, "AP75": 0, "AP_coco": 10, "AP50_coco": 100, "AP75_coco": 0}
    # 10.04 is written 10.0 and 10.06 10.1.
    assert percent(detections([(0, 0, 0.9, 0, 0, 10, 10.04)]), truth)["AP50"] == 0
    assert percent(detections([(0, 0, 0.9, 0, 0, 10, 10.06)]), truth)["AP50"] == 100


def test_an_overlap_of_nine_tenths_meets_cocos_ninth_threshold_and_not_vocs() -> None:
    truth, found = objects(1, [(0, 0, 0, 0, 0, 10, 10)]), detections([(0, 0, 0.9, 0, 0, 10, 9)])
    voc, coco = detection_scores(found, truth, 1, resamples=0).per_class[:, :, 0]
    np.testing.assert_allclose(voc, [100] * 8 + [0] * 2)
    np.testing.assert_allclose(coco, [100] * 9 + [0])


def test_scores_that_are_written_alike_keep_the_order_given_by_vocs_rule() -> None:
    truth = objects(1, [(0, 0, 0, 0, 0, 10, 10)])
    found = detections([(0, 0, 0.5003, 50, 0, 60, 10), (0, 0, 0.5004, 0, 0, 10, 10)])
    assert (percent(found, truth)["AP"], percent(found, truth)["AP_coco"]) == (pytest.approx(50), pytest.approx(100))


def test_a_crowd_takes_what_lies_in_it_however_often() -> None:
    truth = objects(1, [(0, 0, 1, 0, 0, 100, 100), (0, 0, 0, 200, 0, 210, 10)])
    inside = [(0, 0, 0.9, x, 0, x + 10, 10) for x in range(0, 80, 10)]
    found = detections([*inside, (0, 0, 0.5, 200, 0, 210, 10)])
    scores = percent(found, truth)
    assert scores["AP_coco"] == pytest.approx(100)
    assert scores["AP"] == pytest.approx(100 / 9)  # by VOC's rule a small part of an object is wrong


def test_cocos_rule_takes_a_hundred_of_a_picture_and_class() -> None:
    truth = objects(1, [(0, 0, 0, 0, 0, 10, 10), (0, 1, 0, 0, 0, 10, 10)])
    wrong = [(0, 0, 0.9 - i / 1000, 50, 0, 60, 10) for i in range(99)]
    hundredth = detections([(0, 0, 0.1, 0, 0, 10, 10), *wrong, (0, 1, 0.05, 0, 0, 10, 10)])
    scores = detection_scores(hundredth, truth, 2, resamples=0)
    np.testing.assert_allclose(scores.per_class[:, 0], [[1, 100], [1, 100]])
    later = detections([(0, 0, 0.1, 0, 0, 10, 10), *wrong, (0, 0, 0.2, 50, 0, 60, 10), (0, 1, 0.05, 0, 0, 10, 10)])
    scores = detection_scores(later, truth, 2, resamples=0)
    np.testing.assert_allclose(scores.per_class[:, 0], [[100 / 101, 100], [0, 100]])


def test_classes_without_detections_score_nothing_and_those_without_objects_do_not_count() -> None:
    truth = objects(3, [(0, 0, 0, 0, 0, 10, 10), (1, 1, 0, 0, 0, 10, 10), (1, 2, 1, 0, 0, 10, 10)])
    found = detections([(0, 0, 0.9, 0, 0, 10, 10), (2, 3, 0.9, 0, 0, 10, 10), (1, 2, 0.8, 0, 0, 10, 10)])
    scores = detection_scores(found, truth, 5, resamples=0)
    expected = np.broadcast_to([100, 0, np.nan, np.nan, np.nan], (2, 10, 5))
    np.testing.assert_allclose(scores.per_class, expected)
    assert {score.value for score in scores.scores.values()} == {50.0}
    assert {score.n for score in scores.scores.values()} == {3}
    assert set(percent(NOTHING, truth, 3).values()) == {0.0}


def test_objects_without_area_are_not_found_and_harm_nobody() -> None:
    truth = objects(1, [(0, 0, 0, 5, 5, 5, 5), (0, 0, 0, 0, 0, 10, 10)])
    found = detections([(0, 0, 0.9, 5, 5, 5, 5), (0, 0, 0.8, 0, 0, 10, 10), (0, 0, 0.7, 3.35, 3, 3.35, 9)])
    expected = per_class(found, truth, 1)
    np.testing.assert_allclose(detection_scores(found, truth, 1, resamples=0).per_class, expected, atol=1e-9)
    assert expected[0, 0, 0] == pytest.approx(100 * 6 * 0.5 / 11)


def test_the_order_of_the_rows_does_not_count_where_scores_differ() -> None:
    found, truth = crowded(5, images=60, scores=0)
    turn = np.random.default_rng(0).permutation(len(found.image))
    other = Detections(found.image[turn], found.boxes[turn], found.labels[turn], found.scores[turn])
    assert percent(other, truth, 3) == percent(found, truth, 3)


@pytest.mark.parametrize("threshold", [0.5, 0.6])
def test_pictures_alone_have_the_average_precision_of_a_data_set_of_one(threshold: float) -> None:
    found, truth = crowded(11, images=150, found=8, there=3)
    scores = image_average_precision(found, truth, 3, threshold)
    expected = []
    for image in range(150):
        only = pictures(found, truth, [image])
        each = [average_precision(*voc_outcomes(*only, label, threshold), VOC_RECALLS) for label in range(3)]
        there = [value for value in each if not np.isnan(value)]
        expected.append(np.mean(there) if there else np.nan)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-9)
    assert np.isnan(scores).any()
    assert ((scores > 0) & (scores < 100)).sum() > 20


def test_pictures_without_anything_have_no_average_precision() -> None:
    truth = objects(2, [(1, 0, 0, 0, 0, 10, 10)])
    np.testing.assert_array_equal(image_average_precision(NOTHING, truth, 1), [np.nan, 0])
    np.testing.assert_array_equal(image_average_precision(NOTHING, objects(2, []), 1), [np.nan, np.nan])


@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_the_curve_has_a_point_after_each_detection_that_counts(threshold: float) -> None:
    found, truth = crowded(2, images=40, scores=0)
    recall, precision, scores = precision_recall(found, truth, 0, threshold)
    outcomes, counting = voc_outcomes(found, truth, 0, threshold)
    kept = [outcome for outcome in outcomes if outcome != "ignored"]
    assert 0 < len(kept) < len(outcomes)
    right = np.cumsum([outcome == "right" for outcome in kept])
    np.testing.assert_allclose(recall, right / counting)
    np.testing.assert_allclose(precision, right / (1 + np.arange(len(kept))))
    assert (np.diff(scores) < 0).all()
    ranked = np.sort(np.round(found.scores[found.labels == 0].astype(np.float64), 3))[::-1]
    assert scores.tolist() == [s for s, outcome in zip(ranked, outcomes, strict=True) if outcome != "ignored"]


FOUND = detections([(0, 0, 0.9, 0, 0, 10, 10), (1, 1, 0.8, 0, 0, 10, 10)])
TRUTH = objects(2, [(0, 0, 0, 0, 0, 10, 10), (1, 1, 1, 0, 0, 10, 10)])
TURNED = np.array([[0, 0, 10, 10], [5, 0, 4, 10]], dtype=np.float32)


@pytest.mark.parametrize(
    ("found", "truth", "told"),
    [
        (
            replace(FOUND, image=np.array([0, 2])),
            TRUTH,
            r"found.image: expected numbers of pictures in 0\.\.1, got 2 in row 1",
        ),
        (replace(FOUND, image=np.array([-1, 0])), TRUTH, r"found.image: .* got -1 in row 0"),
        (replace(FOUND, image=np.array([0.0, 1.0])), TRUTH, r"found.image: expected whole numbers \(M,\), got float64"),
        (replace(FOUND, labels=np.array([0, 2])), TRUTH, r"found.labels: expected numbers of classes in 0\.\.1, got 2"),
        (replace(FOUND, labels=np.array([0])), TRUTH, r"found.labels: expected shape \(2,\).*got \(1,\)"),
        (
            replace(FOUND, boxes=FOUND.boxes[:, :3]),
            TRUTH,
            r"found.boxes: expected real numbers \(2, 4\), got float32 \(2, 3\)",
        ),
        (
            replace(FOUND, boxes=TURNED),
            TRUTH,
            r"found.boxes: expected x1 <= x2 and y1 <= y2, got \[5.0, 0.0, 4.0, 10.0\] in row 1",
        ),
        (replace(FOUND, boxes=FOUND.boxes + np.float32(np.inf)), TRUTH, "found.boxes: expected finite numbers"),
        (
            replace(FOUND, scores=np.array([0.1, np.nan])),
            TRUTH,
            "found.scores: expected finite numbers, got nan in row 1",
        ),
        (
            replace(FOUND, scores=np.array([0.1])),
            TRUTH,
            r"found.scores: expected real numbers \(2,\), got float64 \(1,\)",
        ),
        (FOUND, replace(TRUTH, images=0), "truth.images: expected at least one picture, got 0"),
        (FOUND, replace(TRUTH, images=1), r"truth.image: expected numbers of pictures in 0\.\.0, got 1|found.image"),
        (
            FOUND,
            replace(TRUTH, labels=np.array([0, 5])),
            r"truth.labels: expected numbers of classes in 0\.\.1, got 5 in row 1",
        ),
        (FOUND, replace(TRUTH, boxes=TURNED), "truth.boxes: expected x1 <= x2"),
        (FOUND, replace(TRUTH, difficult=np.array([0, 1])), r"truth.difficult: expected bool \(2,\).*got int64 \(2,\)"),
        (FOUND, replace(TRUTH, difficult=np.array([True])), r"truth.difficult: expected bool \(2,\).*got bool \(1,\)"),
        (
            FOUND,
            replace(TRUTH, difficult=np.array([True, True])),
            "got 2 objects, all of them difficult: the score is undefined",
        ),
        (FOUND, objects(2, []), "got no object: the score is undefined"),
    ],
)
def test_what_cannot_be_scored_is_refused(found: Detections, truth: Truth, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        detection_scores(found, truth, 2)


def test_classes_labels_and_thresholds_must_be_some() -> None:
    with pytest.raises(ValueError, match="classes: expected at least one class, got 0"):
        detection_scores(FOUND, TRUTH, 0)
    with pytest.raises(ValueError, match="label: expected a class with an object that is not difficult, got 1"):
        precision_recall(FOUND, TRUTH, 1)
    with pytest.raises(ValueError, match=r"threshold: expected an overlap in \[0, 1\), got 50"):
        precision_recall(FOUND, TRUTH, 0, threshold=50)
    with pytest.raises(ValueError, match=r"threshold: expected an overlap in \[0, 1\), got 1"):
        image_average_precision(FOUND, TRUTH, 2, threshold=1)
    with pytest.raises(ValueError, match=r"found.labels: expected numbers of classes from 0, got -1"):
        precision_recall(replace(FOUND, labels=np.array([0, -1])), TRUTH, 0)
