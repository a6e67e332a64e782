"""Which detections are right, wrong or ignored: the rule of VOC 2007 as detectron2 has it, and COCO's.

Both compare a detection with the objects of its picture and class alone, at several thresholds of overlap (intersection over
union). They differ in what follows: VOC gives a detection its most overlapping object or nothing, COCO the best that is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.detection_data import Detections, Truth

THRESHOLDS: NDArray[np.float64] = np.arange(50, 100, 5) / 100
"""Overlaps at which detections are judged: .50, .55, ... .95."""

COCO_THRESHOLDS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""The same as pycocotools has them, whose .90 is one bit less."""

MOST = 100
"""Detections of one class that COCO's rule takes from a picture."""

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Judged:
    """Detections in the order of their class, then falling score, and what became of each at T thresholds.

    starts: (K + 1,), where each class begins. image: (M,), scores: float64 (M,), as the rule reads them. hit: bool (T, M), right.
    ignored: bool (T, M), neither right nor wrong. All others are wrong. order: (M,), the place of each among the detections
    given. taken: bool (T, G), the objects that a detection is right on, in the order given.
    """

    starts: NDArray[np.int64]
    image: NDArray[np.int64]
    scores: NDArray[np.float64]
    hit: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    order: NDArray[np.int64]
    taken: NDArray[np.bool_]


def voc_judged(found: Detections, truth: Truth, classes: int, thresholds: Floats = THRESHOLDS) -> Judged:
    """Detections judged as by detectron2's `PascalVOCDetectionEvaluator` (facebookresearch/detectron2, evaluation/
    pascal_voc_evaluation.py), which rewrites the official Matlab code.

    Scores and boxes are those of its text files (`as_written`), objects get back VOC's pixels counted from 1, and a last pixel
    belongs to its box, so that 1 is added to widths and heights. The two cancel for boxes of whole pixels, which overlap as
    continuous ones do. Among equal scores the order given counts, where detectron2's sorting leaves it open.
    """
    scores, boxes = as_written(found)
    pixels = truth.boxes + np.array([1, 1, 0, 0], dtype=np.float64)
    return first_choice(found, scores, boxes, truth, pixels, classes, thresholds, edge=1.0)


def as_written(found: Detections) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores (M,) with three decimals and boxes (M, 4) in pixels counted from 1 with one, as text would round them.

    A float32 times 1000 is exact in float64, so that rounding it half to even is what `format` does with its decimal expansion.
    """
    boxes = found.boxes + np.array([1, 1, 0, 0], dtype=np.float32)  # detectron2 adds in float32 too
    return np.rint(found.scores.astype(np.float64) * 1000) / 1000, np.rint(boxes.astype(np.float64) * 10) / 10


def first_choice(
    found: Detections,
    scores: Floats,
    boxes: Floats,
    truth: Truth,
    objects: Floats,
    classes: int,
    thresholds: Floats,
    *,
    edge: float,
) -> Judged:
    """Every detection goes to the object that it overlaps most, the first of equals, or to none.

    It is right if they overlap by more than the threshold and no detection before it was, wrong otherwise; one whose object is
    difficult is ignored above the threshold.

    Args:
        scores: (M,), boxes: (M, 4), objects: (G, 4), in place of those of found and truth.
        edge: what is added to widths and heights.
    """
    order = np.lexsort((-scores, found.labels))
    image, labels = found.image[order], found.labels[order]
    pairs = _Pairs.of(image, labels, truth, classes)
    inner, area, object_area = _areas(boxes[order], objects, pairs, edge)
    overlap = _ratio(inner, area + object_area - inner)
    best = np.maximum.reduceat(overlap, pairs.starts) if len(overlap) else overlap
    place = np.where(overlap == np.repeat(best, pairs.sizes), np.arange(len(overlap)), len(overlap))
    choice = pairs.truth[np.minimum.reduceat(place, pairs.starts)] if len(overlap) else pairs.truth
    difficult = truth.difficult[choice]
    hit = np.zeros((len(thresholds), len(order)), dtype=np.bool_)
    ignored = np.zeros_like(hit)
    taken = np.zeros((len(thresholds), len(truth.image)), dtype=np.bool_)
    for t, threshold in enumerate(thresholds):
        over = best > threshold
        ignored[t, pairs.found[over & difficult]] = True
        able = np.flatnonzero(over & ~difficult)
        earliest = np.unique(choice[able], return_index=True)[1]
        hit[t, pairs.found[able[earliest]]] = True
        taken[t, choice[able]] = True
    read = scores[order].astype(np.float64)
    return Judged(_class_starts(labels, classes), image, read, hit, ignored, order, taken)


def coco_judged(found: Detections, truth: Truth, classes: int, thresholds: Floats = COCO_THRESHOLDS) -> Judged:
    """Detections judged as by pycocotools' `COCOeval` (cocodataset/cocoapi), for boxes of every area.

    Difficult objects are its crowds. In each picture and class the `MOST` detections of highest scores are taken. One after the
    other they get the object of largest overlap among those that no other has, the last of equals, if that is the threshold or
    more. What got none and shares as much of its own area with a crowd is ignored, however many do. Among equal scores the
    picture's place counts, then the order given.
    """
    order = np.lexsort((found.image, -found.scores, found.labels))
    order = order[_turns(found.image[order] * classes + found.labels[order]) < MOST]
    image, labels = found.image[order], found.labels[order]
    pairs = _Pairs.of(image, labels, truth, classes)
    inner, area, object_area = _areas(found.boxes[order].astype(np.float64), truth.boxes.astype(np.float64), pairs, 0.0)
    crowd = truth.difficult[pairs.truth]
    overlap = _ratio(inner, np.where(crowd, area, area + object_area - inner))

    hit, taken = _best_left(pairs, np.where(crowd, -1.0, overlap), thresholds, len(order), truth)
    ignored = np.zeros_like(hit)
    for t, threshold in enumerate(thresholds):
        ignored[t, np.repeat(pairs.found, pairs.sizes)[crowd & (overlap >= threshold)]] = True
    scores = found.scores[order].astype(np.float64)
    return Judged(_class_starts(labels, classes), image, scores, hit, ignored & ~hit, order, taken)


def _best_left(
    pairs: _Pairs, overlap: NDArray[np.float64], thresholds: Floats, detections: int, truth: Truth
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(T, M), which detections get an object, and (T, G), which objects are got.

    overlap: (P,), with what may never be had below all thresholds.

    Round r gives all pictures and classes their r-th detection that could get anything, at all thresholds together.
    """
    hit = np.zeros((len(thresholds), detections), dtype=np.bool_)
    taken = np.zeros((len(thresholds), len(truth.image)), dtype=np.bool_)
    able = overlap >= np.min(thresholds)
    finder, wanted, overlap = np.repeat(pairs.found, pairs.sizes)[able], pairs.truth[able], overlap[able]
    starts = _runs(finder)
    turn = np.repeat(_turns(pairs.key[wanted[starts]]), np.diff(starts, append=len(finder)))
    by_turn = np.argsort(turn, kind="stable")
    finder, wanted, overlap = finder[by_turn], wanted[by_turn], overlap[by_turn]
    rounds = np.searchsorted(turn[by_turn], np.arange(turn.max(initial=-1) + 2))
    limits = np.asarray(thresholds)[:, None]
    for start, stop in pairwise(rounds):
        who, what, how = finder[start:stop], wanted[start:stop], overlap[start:stop]
        begins = _runs(who)
        value = np.where(taken[:, what] | (how < limits), -1.0, how)
        best = np.repeat(np.maximum.reduceat(value, begins, axis=1), np.diff(begins, append=len(who)), axis=1)
        place = np.where((value == best) & (value >= 0), np.arange(len(who)), -1)
        last = np.maximum.reduceat(place, begins, axis=1)
        at, detection = np.nonzero(last >= 0)
        taken[at, what[last[at, detection]]] = True
        hit[at, who[begins[detection]]] = True
    return hit, taken


@dataclass(frozen=True)
class _Pairs:
    """Detections beside every object of their picture and class.

    found: (D,), the detections that have any. starts, sizes: (D,), where the pairs of each are. truth: (P,), the object of each
    pair, in the order given. key: (G,), one number for each picture and class.
    """

    found: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    truth: NDArray[np.int64]
    key: NDArray[np.int64]

    @classmethod
    def of(cls, image: NDArray[np.int64], labels: NDArray[np.int64], truth: Truth, classes: int) -> _Pairs:
        key = truth.image * classes + truth.labels
        order = np.argsort(key, kind="stable")
        per_key = np.bincount(key, minlength=truth.images * classes)
        wanted = image * classes + labels
        sizes = per_key[wanted]
        found = np.flatnonzero(sizes)
        sizes = sizes[found]
        starts = np.cumsum(sizes) - sizes
        first = (np.cumsum(per_key) - per_key)[wanted[found]]
        within = np.arange(sizes.sum()) - np.repeat(starts, sizes)
        return cls(found, starts, sizes, order[np.repeat(first, sizes) + within], key)


def _areas(
    boxes: Floats, objects: Floats, pairs: _Pairs, edge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each pair (P,) in float64: the intersection, the detection's area and the object's."""
    one, other = np.repeat(boxes[pairs.found], pairs.sizes, axis=0), objects[pairs.truth]
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2]) + edge
    inner = np.maximum(sides, 0.0).prod(axis=1)
    return inner, (one[:, 2:] - one[:, :2] + edge).prod(axis=1), (other[:, 2:] - other[:, :2] + edge).prod(axis=1)


def _ratio(inner: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 where the whole is nothing: two boxes without area do not overlap."""
    return np.divide(inner, whole, out=np.zeros_like(inner), where=whole > 0)


def _runs(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.diff(values, prepend=-1))


def _turns(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal keys stand before each."""
    order = np.argsort(keys, kind="stable")
    starts = _runs(keys[order])
    turns = np.empty_like(keys)
    turns[order] = np.arange(len(keys)) - np.repeat(starts, np.diff(starts, append=len(keys)))
    return turns


def _class_starts(labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    return np.searchsorted(labels, np.arange(classes + 1))
