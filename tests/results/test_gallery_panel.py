from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.results.gallery_panel import CHIP, SIDE, make_panel
from tests.metrics.detection_data import detections, objects
from tests.results.detection_records import SAMPLES, SIZES


def panel(place, threshold=0.3):
    size = SIZES[SAMPLES.rows[place]]
    return make_panel(SAMPLES, place, Image.new("RGB", size), 50.0, threshold)


def kinds(made):
    return [(mark.kind, mark.label) for mark in made.marks]


def test_objects_and_detections_are_told_apart():
    assert kinds(panel(1)) == [
        ("ignored", "dog & <b> .50"), ("wrong", "cat .60"), ("right", "cat .70"), ("taken", ""), ("difficult", ""),
    ]  # fmt: skip
    assert kinds(panel(2)) == [("wrong", "dog & <b> .95"), ("missed", "missed dog & <b>")]
    assert kinds(panel(4)) == [("wrong", "cat .90")]


def test_what_is_below_the_threshold_is_hidden_but_found_the_object():
    made = panel(0)
    assert kinds(made) == [("wrong", "dog & <b> .80"), ("right", "cat .90"), ("taken", ""), ("taken", "cat < 0.3")]
    assert made.hidden == 1
    assert made.caption == ("row 1: AP50 50.0", "2 of 2 found, 1 wrong, 1 hidden")
    assert kinds(panel(0, threshold=0.2))[::4] == [("right", "cat .20"), ("taken", "")]
    assert kinds(panel(0, threshold=2.0)) == [("taken", "cat < 2"), ("taken", "cat < 2")]
    assert panel(1).caption[1] == "1 of 1 found, 1 wrong, 1 ignored, 1 difficult"


def test_boxes_are_where_they_are_on_the_picture():
    # 64 x 64 grows by the largest whole factor that fits, 5.
    small = panel(1)
    assert small.size == (320, 320) and small.picture.size == (64, 64) and small.frames[0].pixelated
    assert small.marks[4].box == (200.0, 200.0, 300.0, 300.0)
    # Lines at the edge would be cut.
    assert small.marks[3].box == (1.0, 1.0, 150.0, 150.0)
    # 900 x 600 shrinks by .4, and is kept larger for dense screens.
    large = panel(0)
    assert large.size == (SIDE, 240) and large.picture.size == (720, 480) and not large.frames[0].pixelated
    assert large.marks[2].box == pytest.approx((40.0, 40.0, 160.0, 120.0))
    assert panel(2).size == (SIDE, 92) and panel(2).picture.size == (250, 64)


@pytest.mark.parametrize("size", [(1, 1), (4000, 3), (3, 4000)])
def test_extreme_pictures(size):
    samples = DetectionSamples(
        detections([(0, 0, 0.9, 0, 0, *size)]), objects(1, []), np.array([7]), np.array([size[::-1]]), ("cat",)
    )
    made = make_panel(samples, 0, Image.new("RGB", size), float("nan"), 0.3)
    assert max(made.size) == SIDE and min(made.size) >= 1
    assert max(made.picture.size) <= 720


def test_labels_lie_in_the_picture_and_not_on_each_other():
    rows = [(0, 0, 0.9 - i / 100, 10, 10 + 25 * i, 60, 30 + 25 * i) for i in range(4)]
    samples = DetectionSamples(detections(rows), objects(1, []), np.zeros(1, int), np.array([[120, 120]]), ("x" * 40,))
    made = make_panel(samples, 0, Image.new("RGB", (120, 120)), 0.0, 0.0)
    chips = [mark.chip for mark in made.marks]
    assert all(mark.label.startswith("x" * 16 + ".. .") for mark in made.marks)
    for x1, y1, x2, y2 in chips:
        assert 0 <= x1 < x2 <= made.size[0] and 0 <= y1 < y2 <= made.size[1] and y2 - y1 == CHIP
    for i, one in enumerate(chips):
        for other in chips[i + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_scores_at_the_threshold_are_shown_as_the_rule_reads_them():
    found = detections([(0, 0, 0.2996, 0, 0, 9, 9), (0, 0, 0.2994, 0, 0, 9, 9)])
    samples = DetectionSamples(found, objects(1, []), np.zeros(1, int), np.array([[9, 9]]), ("cat",))
    made = make_panel(samples, 0, Image.new("RGB", (9, 9)), 0.0, 0.3)
    assert (len(made.marks), made.hidden) == (1, 1)
