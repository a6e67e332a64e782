"""Scores of object detection: average precision by the rule of PASCAL VOC 2007 and by COCO's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.detection_curves import (
    COCO_LEVELS,
    VOC_LEVELS,
    average_precisions,
    picture_average_precisions,
    recall_precision,
)
from sslbench.metrics.detection_data import Detections, Truth, checked
from sslbench.metrics.detection_matching import THRESHOLDS, coco_judged, voc_judged
from sslbench.metrics.resampling import RESAMPLES, Scale, resample_counts, resampled_score
from sslbench.metrics.score import Score

__all__ = [
    "THRESHOLDS",
    "DetectionScores",
    "Detections",
    "Truth",
    "detection_scores",
    "image_average_precision",
    "precision_recall",
]


@dataclass(frozen=True)
class DetectionScores:
    """Scores in percent, by name: `AP`, `AP50`, `AP75` by VOC's rule and `AP_coco`, `AP50_coco`, `AP75_coco` by COCO's.

    scores: n counts pictures. resampled: each one's values on the resamples of the pictures (R,). per_class: float64 (2, 10, K),
    by rule (VOC, COCO), threshold and class, in percent; nan for a class without an object that counts.
    """

    scores: Mapping[str, Score]
    resampled: Mapping[str, NDArray[np.float64]]
    per_class: NDArray[np.float64]


def detection_scores(found: Detections, truth: Truth, classes: int, *, resamples: int = RESAMPLES) -> DetectionScores:
    """Mean average precision over the classes, at overlaps .50 and .75 and as the mean of ten from .50 to .95.

    VOC's rule is detectron2's evaluator, which published transfer results on VOC 2007 come from (`voc_judged`), with precision at
    eleven levels of recall. COCO's is pycocotools' (`coco_judged`), at 101 levels; its numbers are not VOC's, though both are
    called AP. A class without detections has 0. A class without an object that counts is left out of the mean, where detectron2
    would give nan.

    Standard errors and intervals come from resamples of the pictures, as in `sslbench.metrics.resampling`: those of two detectors
    are of the same pictures. A class that a resample has no object of is left out of that resample's mean.

    Args:
        found: the detections; none at all are allowed.
        truth: the objects.
        classes: K.
        resamples: with 0 the standard errors and intervals are nan.

    Raises:
        ValueError: input as `checked` refuses it, or not one object that counts.
    """
    found, truth = checked(found, truth, classes)
    if truth.difficult.all():
        told = f"got {len(truth.image)} objects, all of them difficult" if len(truth.image) else "got no object"
        raise ValueError(f"truth: expected at least one object that is not difficult, {told}: the score is undefined")
    counts = resample_counts(truth.images, resamples)
    rules = {
        "": (voc_judged(found, truth, classes), VOC_LEVELS),
        "_coco": (coco_judged(found, truth, classes), COCO_LEVELS),
    }
    scores, resampled, per_class = {}, {}, []
    for suffix, (judged, levels) in rules.items():
        precisions = 100 * average_precisions(judged, truth, counts, levels)
        per_class.append(precisions[0])
        means = _mean_of_defined(precisions)
        for name, values in (("AP", means.mean(axis=1)), ("AP50", means[:, 0]), ("AP75", means[:, 5])):
            one = resampled_score(float(values[0]), values[1:], truth.images, Scale())
            scores[name + suffix], resampled[name + suffix] = one
    return DetectionScores(scores, resampled, np.stack(per_class))


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean along the last axis of what is not nan; nan where nothing is."""
    defined = (~np.isnan(values)).sum(axis=-1)
    sums, nothing = np.nansum(values, axis=-1), np.full(defined.shape, np.nan)
    means: NDArray[np.float64] = np.divide(sums, defined, out=nothing, where=defined > 0)
    return means


def precision_recall(
    found: Detections, truth: Truth, label: int, threshold: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Recall, precision and score (P,) of one class after each of its detections by VOC's rule, the highest score first.

    Detections that are ignored have no point. Scores have three decimals, as the rule reads them.

    Raises:
        ValueError: input as `checked` refuses it, a threshold outside of [0, 1), or a class without an object that counts.
    """
    found, truth = checked(found, truth)
    _check_threshold(threshold)
    mine, there = found.labels == label, truth.labels == label
    total = int((there & ~truth.difficult).sum())
    if not total:
        raise ValueError(f"label: expected a class with an object that is not difficult, got {label}")
    only = Detections(found.image[mine], found.boxes[mine], np.zeros(mine.sum(), np.int64), found.scores[mine])
    objects = Truth(
        truth.images, truth.image[there], truth.boxes[there], np.zeros(there.sum(), np.int64), truth.difficult[there]
    )
    judged = voc_judged(only, objects, 1, np.array([threshold]))
    return *recall_precision(judged, 0, total), judged.scores[~judged.ignored[0]]


def image_average_precision(
    found: Detections, truth: Truth, classes: int, threshold: float = 0.5
) -> NDArray[np.float64]:
    """Average precision by VOC's rule of each picture alone (N,), in percent.

    It is the mean over the classes that the picture has an object of that counts, and nan where it has none.

    Raises:
        ValueError: input as `checked` refuses it, or a threshold outside of [0, 1).
    """
    found, truth = checked(found, truth, classes)
    _check_threshold(threshold)
    judged = voc_judged(found, truth, classes, np.array([threshold]))
    return 100 * picture_average_precisions(judged, truth, classes, VOC_LEVELS)


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold: expected an overlap in [0, 1), got {threshold}")
