"""Detection scores against torchmetrics with both of its COCO evaluators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from sslbench.metrics.detection import THRESHOLDS, Detections, Truth, detection_scores
from sslbench.metrics.detection_curves import VOC_LEVELS, average_precisions
from sslbench.metrics.detection_matching import first_choice
from tests.metrics.detection_data import COCO_RECALLS, COCO_THRESHOLDS, VOC_RECALLS, crowded

BACKENDS = ["pycocotools", "faster_coco_eval"]


def torchmetrics_scores(found: Detections, truth: Truth, backend: str, recalls: list[float]) -> dict[str, np.ndarray]:
    """In percent. Its own thresholds are float32, which a recall of 3/10 does not meet, so both are given."""
    metric = MeanAveragePrecision(
        iou_thresholds=COCO_THRESHOLDS, rec_thresholds=recalls, class_metrics=True, backend=backend
    )
    metric.warn_on_many_detections = False
    predictions, targets = [], []
    for image in range(truth.images):
        f, t = found.image == image, truth.image == image
        boxes, labels, scores = map(torch.from_numpy, (found.boxes[f], found.labels[f], found.scores[f]))
        predictions.append({"boxes": boxes, "labels": labels, "scores": scores})
        boxes, labels, crowd = map(torch.from_numpy, (truth.boxes[t], truth.labels[t], truth.difficult[t].astype(int)))
        targets.append({"boxes": boxes, "labels": labels, "iscrowd": crowd})
    metric.update(predictions, targets)
    computed = {name: value.numpy() for name, value in metric.compute().items()}
    return {name: value if name == "classes" else 100 * value for name, value in computed.items()}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("seed", "images", "found", "there"), [(0, 60, 8, 3), (1, 3, 300, 20)])
def test_cocos_rule_is_theirs_with_crowds_ties_and_more_than_a_hundred(
    backend: str, seed: int, images: int, found: int, there: int
) -> None:
    given, truth = crowded(seed, images=images, found=found, there=there, classes=4)
    assert truth.difficult.any()
    ours, theirs = (
        detection_scores(given, truth, 4, resamples=0),
        torchmetrics_scores(given, truth, backend, COCO_RECALLS),
    )
    for name, value in (("AP_coco", "map"), ("AP50_coco", "map_50"), ("AP75_coco", "map_75")):
        assert ours.scores[name].value == pytest.approx(float(theirs[value]), abs=1e-4)
    classes = np.full(4, np.nan)
    classes[theirs["classes"]] = np.where(theirs["map_per_class"] < 0, np.nan, theirs["map_per_class"])
    np.testing.assert_allclose(ours.per_class[1].mean(axis=0), classes, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_eleven_points_are_theirs_where_the_rules_agree(backend: str) -> None:
    """No object is difficult, none overlaps another, and nothing lies on a threshold; without rounding."""
    rng = np.random.default_rng(4)
    images, cells, classes = 25, 4, 3
    g = images * cells
    corner = np.tile([[0, 0], [100, 0], [0, 100], [100, 100]], (images, 1)) + 20.0
    size = rng.uniform(30, 60, size=(g, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    kept = rng.random(g) < 0.7
    image, labels = np.repeat(np.arange(images), cells), rng.integers(classes, size=g)
    truth = Truth(images, image[kept], boxes[kept], labels[kept], np.zeros(kept.sum(), dtype=np.bool_))
    many = np.repeat(np.arange(g), 4)
    moved = boxes[many] + rng.uniform(-9, 9, size=(len(many), 4))
    scores = rng.random(len(many)).astype(np.float32)
    found = Detections(image[many], moved.astype(np.float32), labels[many], scores)
    theirs = torchmetrics_scores(found, truth, backend, VOC_RECALLS)

    plain = map(np.float64, (found.scores, found.boxes))
    judged = first_choice(found, *plain, truth, truth.boxes.astype(np.float64), classes, THRESHOLDS, edge=0.0)
    ours = 100 * average_precisions(judged, truth, np.ones((images, 1), dtype=np.int64), VOC_LEVELS)[0]
    assert 20 < ours.mean() < 80
    assert ours.mean() == pytest.approx(float(theirs["map"]), abs=1e-4)
    assert ours[0].mean() == pytest.approx(float(theirs["map_50"]), abs=1e-4)
    assert ours[5].mean() == pytest.approx(float(theirs["map_75"]), abs=1e-4)
    # With rounding and VOC's pixels the difference is small.
    assert detection_scores(found, truth, classes, resamples=0).scores["AP"].value == pytest.approx(ours.mean(), abs=1)
