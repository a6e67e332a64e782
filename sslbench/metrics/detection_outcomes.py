"""What became of single detections and objects, in the order given, and how each class scores: what a reader looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.detection_curves import COCO_LEVELS, VOC_LEVELS, average_precisions, recall_precision
from sslbench.metrics.detection_data import Detections, Truth, checked
from sslbench.metrics.detection_matching import coco_judged, voc_judged


@dataclass(frozen=True)
class Outcomes:
    """M detections and G objects by VOC's rule at one threshold, in the order given.

    right, ignored: bool (M,); all other detections are wrong. taken: bool (G,), objects that a detection is right on.
    """

    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    taken: NDArray[np.bool_]


def detection_outcomes(found: Detections, truth: Truth, classes: int, threshold: float = 0.5) -> Outcomes:
    """What `detection_scores` counts each detection and object as, by VOC's rule.

    Raises ValueError for input as `checked` refuses it.
    """
    found, truth = checked(found, truth, classes)
    judged = voc_judged(found, truth, classes, np.array([threshold]))
    right, ignored = np.empty_like(judged.hit[0]), np.empty_like(judged.ignored[0])
    right[judged.order], ignored[judged.order] = judged.hit[0], judged.ignored[0]
    return Outcomes(right, ignored, judged.taken[0])


@dataclass(frozen=True)
class ClassScores:
    """How each of K classes scores.

    objects: int64 (K,), those that count. ap, ap50, ap75: float64 (K,), in percent by VOC's rule, the mean of ten thresholds
    from .50 to .95, at .50 and at .75. ap_coco: float64 (K,), the mean by COCO's rule. All are nan for a class without an
    object that counts. curves: of each class recall and precision (P,) after each detection that counts at .50 by VOC's
    rule, the highest score first; None for a class without an object that counts.
    """

    objects: NDArray[np.int64]
    ap: NDArray[np.float64]
    ap50: NDArray[np.float64]
    ap75: NDArray[np.float64]
    ap_coco: NDArray[np.float64]
    curves: tuple[tuple[NDArray[np.float64], NDArray[np.float64]] | None, ...]


def class_scores(found: Detections, truth: Truth, classes: int) -> ClassScores:
    """The scores of each class, of which `detection_scores` gives the means, without resamples.

    Raises ValueError for input as `checked` refuses it.
    """
    found, truth = checked(found, truth, classes)
    once = np.ones((truth.images, 1), dtype=np.int64)
    judged = voc_judged(found, truth, classes)
    voc = 100 * average_precisions(judged, truth, once, VOC_LEVELS)[0]
    coco = 100 * average_precisions(coco_judged(found, truth, classes), truth, once, COCO_LEVELS)[0]
    objects = np.bincount(truth.labels[~truth.difficult], minlength=classes)
    curves = tuple(
        recall_precision(judged, label, total) if total else None for label, total in enumerate(objects.tolist())
    )
    return ClassScores(objects, voc.mean(axis=0), voc[0], voc[5], coco.mean(axis=0), curves)
