"""Average precision from judged detections, on a test set and its resamples at once or on each picture alone.

Precision at a level of recall is the largest at that recall or a higher one, so a curve is told by its steps, the detections that
are right: with the objects found up to step i, k_i levels are reached, and AP = sum_i (k_i - k_{i-1}) * largest precision from
step i on / levels. Eleven levels cost what 101 do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.detection_data import Truth
from sslbench.metrics.detection_matching import Judged

VOC_LEVELS: NDArray[np.float64] = np.arange(0.0, 1.1, 0.1)
COCO_LEVELS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)

# Columns of counts are taken in blocks of so many numbers, which stay in a processor's cache.
_BLOCK = 500_000

Counts = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class _Steps:
    """Where one class can be right, and which of that holds at one threshold.

    hits: (H,), places among the class's candidates, which are right at any threshold. ignored: (I,), places among its
    detections. before: (H,), how many of the ignored stand before each hit.
    """

    hits: NDArray[np.int64]
    ignored: NDArray[np.int64]
    before: NDArray[np.int64]


def average_precisions(
    judged: Judged, truth: Truth, counts: NDArray[np.int64], levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(C, T, K), a fraction for each column of counts (N, C), threshold and class.

    counts: how often each picture occurs; a detection on one that occurs w times is a step of w. nan where no object that counts
    occurs; a class without detections has 0.
    """
    columns, classes = counts.shape[1], len(judged.starts) - 1
    # Half the width is nearly twice the speed, and holds any sum of less than a hundred million detections.
    narrow = len(judged.image) * int(counts.max()) < 2**31
    drawn: Counts = np.ascontiguousarray(counts.T, dtype=np.int32 if narrow else np.int64)
    found = np.full((columns, len(judged.hit), classes), np.nan)
    for c in range(classes):
        own = slice(judged.starts[c], judged.starts[c + 1])
        total = drawn[:, truth.image[(truth.labels == c) & ~truth.difficult]].sum(axis=1)
        if not total.any():
            continue
        found[:, :, c] = _of_class(judged.image[own], judged.hit[:, own], judged.ignored[:, own], drawn, total, levels)
        found[total == 0, :, c] = np.nan
    return found


def _of_class(
    image: NDArray[np.int64],
    hit: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
    drawn: Counts,
    total: NDArray[np.int64],
    levels: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(C, T), from the class's M detections, how often each picture occurs (C, N) and the objects (C,)."""
    found = np.zeros((len(drawn), len(hit)))
    candidates = np.flatnonzero(hit.any(axis=0))
    if not candidates.size:
        return found
    steps = []
    for right, out in zip(hit, ignored, strict=True):
        places, left_out = np.flatnonzero(right), np.flatnonzero(out)
        steps.append(_Steps(np.searchsorted(candidates, places), left_out, np.searchsorted(left_out, places)))
    # What follows the last candidate cannot count, and between two of them only the sum does.
    image = image[: candidates[-1] + 1]
    after = np.append(0, candidates[:-1] + 1)
    width = max(1, _BLOCK // len(image))
    for block in (slice(at, at + width) for at in range(0, len(drawn), width)):
        weight = drawn[block][:, image]
        seen: Counts = np.add.reduceat(weight, after, axis=1, dtype=weight.dtype).cumsum(axis=1, dtype=weight.dtype)
        steps_weight = weight[:, candidates]
        for t, step in enumerate(steps):
            if step.hits.size:
                out_before = _sums(weight[:, step.ignored[: step.before[-1]]])[:, step.before]
                counted = seen[:, step.hits] - out_before
                right = _sums(steps_weight[:, step.hits])[:, 1:]
                found[block, t] = _average_precision(right, counted, total[block], levels)
    return found


def _sums(weight: Counts) -> Counts:
    """(C, M + 1), the sum before each of M and that of all."""
    sums = np.zeros((len(weight), weight.shape[1] + 1), dtype=weight.dtype)
    np.cumsum(weight, axis=1, dtype=weight.dtype, out=sums[:, 1:])
    return sums


def _average_precision(
    right: Counts, counted: Counts, total: NDArray[np.int64], levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(C,), from what is right and what counts up to each step (C, H), and the objects (C,)."""
    # A resample without these pictures has 0 of 0 found, which reaches nothing.
    precision = right / np.maximum(counted, 1)
    largest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(levels, right / np.maximum(total, 1)[:, None], side="right")
    reached[:, 1:] -= reached[:, :-1].copy()
    gained: NDArray[np.float64] = (reached * largest).sum(axis=1)
    return gained / len(levels)


def recall_precision(judged: Judged, label: int, total: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and precision (P,) of one class after each of its detections that counts at the first threshold.

    total: its objects that count, 1 or more.
    """
    own = slice(judged.starts[label], judged.starts[label + 1])
    right = np.cumsum(judged.hit[0, own][~judged.ignored[0, own]])
    return right / total, right / np.arange(1, len(right) + 1)


def picture_average_precisions(
    judged: Judged, truth: Truth, classes: int, levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N,), the mean over the classes that a picture has objects of, at the first threshold; nan where none counts."""
    labels = np.repeat(np.arange(classes), np.diff(judged.starts))
    key = judged.image * classes + labels
    order = np.argsort(key, kind="stable")
    key, hit, counted = key[order], judged.hit[0, order], ~judged.ignored[0, order]
    objects = np.bincount((truth.image * classes + truth.labels)[~truth.difficult], minlength=truth.images * classes)

    rows = np.flatnonzero(hit)
    own = key[rows]
    begins = np.flatnonzero(np.diff(own, prepend=-1))
    turn = np.arange(len(rows)) - np.repeat(begins, np.diff(begins, append=len(rows)))
    before = np.append(0, np.cumsum(counted))
    precision = (turn + 1) / (before[rows + 1] - before[np.searchsorted(key, own)])
    last = np.append(own[1:] != own[:-1], True)[: len(own)]
    for now in range(turn.max(initial=0), -1, -1):
        earlier = np.flatnonzero((turn == now) & ~last)
        precision[earlier] = np.maximum(precision[earlier], precision[earlier + 1])
    reached = np.searchsorted(levels, np.stack([turn, turn + 1]) / objects[own], side="right")
    reached[0, turn == 0] = 0
    gained = np.bincount(own, (reached[1] - reached[0]) * precision / len(levels), minlength=len(objects))
    judges = (objects > 0).reshape(truth.images, classes).sum(axis=1)
    sums = gained.reshape(truth.images, classes).sum(axis=1)
    means: NDArray[np.float64] = np.divide(sums, judges, out=np.full(truth.images, np.nan), where=judges > 0)
    return means
