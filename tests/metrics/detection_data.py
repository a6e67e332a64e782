"""Pictures with objects and detections, and both rules of evaluation written out one detection after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sslbench.metrics.detection import Detections, Truth

VOC_THRESHOLDS = [round(0.05 * i, 2) for i in range(10, 20)]
COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10).tolist()
VOC_RECALLS = np.arange(0, 1.1, 0.1).tolist()
COCO_RECALLS = np.linspace(0, 1, 101).tolist()


def detections(rows: Iterable[Sequence[float]]) -> Detections:
    """From rows of picture, label, score, x1, y1, x2, y2."""
    table = np.array(list(rows), dtype=np.float64).reshape(-1, 7)
    whole = table[:, :2].astype(np.int64)
    return Detections(whole[:, 0], table[:, 3:].astype(np.float32), whole[:, 1], table[:, 2].astype(np.float32))


def objects(images: int, rows: Iterable[Sequence[float]]) -> Truth:
    """From rows of picture, label, difficult, x1, y1, x2, y2."""
    table = np.array(list(rows), dtype=np.float64).reshape(-1, 7)
    whole = table[:, :2].astype(np.int64)
    return Truth(images, whole[:, 0], table[:, 3:].astype(np.float32), whole[:, 1], table[:, 2] > 0)


def crowded(
    seed: int, images: int, *, classes: int = 3, found: int = 4, there: int = 2, step: float = 1.0, scores: int = 8
) -> tuple[Detections, Truth]:
    """Boxes on a coarse grid, so that overlaps and scores are often equal, and boxes too.

    found, there: detections and objects that a picture has on average. step: of the grid on which the detections lie.
    scores: how many different ones; 0 for all different, by three decimals too. The last class has no detection and a middle
    one no object.
    """
    rng = np.random.default_rng(seed)
    there_in = rng.integers(images, size=rng.poisson(images * there))
    found_in = rng.integers(images, size=rng.poisson(images * found))
    corners = rng.integers(0, 4, size=(len(there_in), 2)) * 2
    boxes = np.concatenate([corners, corners + rng.integers(2, 9, size=corners.shape)], axis=1)
    labels = rng.integers(classes, size=len(there_in))
    labels[labels == classes - 2] = 0
    truth = Truth(images, there_in, boxes.astype(np.float32), labels, rng.random(len(there_in)) < 0.3)

    corners = rng.integers(0, 7 / step, size=(len(found_in), 2)) * step
    boxes = np.concatenate([corners, corners + rng.integers(1, 9 / step, size=corners.shape) * step], axis=1)
    kinds = rng.integers(classes - 1, size=len(found_in))
    # Half of them lie on an object, or nearly.
    for i, picture in enumerate(found_in):
        mine = np.flatnonzero(there_in == picture)
        if mine.size and rng.random() < 0.5:
            chosen = rng.choice(mine)
            boxes[i] = truth.boxes[chosen] + rng.integers(-1, 2, size=4) * step * (rng.random() < 0.7)
            boxes[i, 2:] = np.maximum(boxes[i, :2], boxes[i, 2:])
            kinds[i] = min(labels[chosen], classes - 2)
    drawn = (
        rng.permutation(1000)[: len(found_in)] / 1000 if scores == 0 else rng.integers(scores, size=len(found_in)) / 7
    )
    return Detections(found_in, boxes.astype(np.float32), kinds, drawn.astype(np.float32)), truth


def voc_outcomes(found: Detections, truth: Truth, label: int, threshold: float) -> tuple[list[str], int]:
    """What becomes of one class's detections, the highest score first, and how many objects there are to find."""
    lines = []
    for image, box, kind, score in zip(found.image, found.boxes, found.labels, found.scores.tolist(), strict=True):
        if kind == label:
            x1, y1, x2, y2 = box
            one = np.float32(1)
            text = f"{image} {score:.3f} {x1 + one:.1f} {y1 + one:.1f} {x2:.1f} {y2:.1f}"
            lines.append([float(word) for word in text.split()])
    lines.sort(key=lambda line: -line[1])
    there = [g for g in range(len(truth.image)) if truth.labels[g] == label]
    used, outcomes = set(), []
    for image, _, *box in lines:
        best, chosen = -1.0, None
        for g in there:
            if truth.image[g] == image:
                x1, y1, x2, y2 = truth.boxes[g].tolist()
                overlap = inclusive_overlap(box, [x1 + 1, y1 + 1, x2, y2])
                if overlap > best:
                    best, chosen = overlap, g
        if best <= threshold:
            outcomes.append("wrong")
        elif truth.difficult[chosen]:
            outcomes.append("ignored")
        elif chosen in used:
            outcomes.append("wrong")
        else:
            used.add(chosen)
            outcomes.append("right")
    return outcomes, sum(not truth.difficult[g] for g in there)


def inclusive_overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union where the last pixel belongs to a box."""
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    return width * height / (areas[0] + areas[1] - width * height)


def coco_outcomes(found: Detections, truth: Truth, label: int, threshold: float) -> tuple[list[str], int]:
    """As `voc_outcomes`, by COCO's rule."""
    judged = []
    for image in range(truth.images):
        mine = [i for i in range(len(found.image)) if found.image[i] == image and found.labels[i] == label]
        mine = sorted(mine, key=lambda i: -found.scores[i])[:100]
        there = [g for g in range(len(truth.image)) if truth.image[g] == image and truth.labels[g] == label]
        used = set()
        for i in mine:
            overlaps = {g: plain_overlap(found.boxes[i], truth.boxes[g], crowd=truth.difficult[g]) for g in there}
            left = [g for g in there if overlaps[g] >= threshold and not truth.difficult[g] and g not in used]
            if left:
                used.add(max(reversed(left), key=overlaps.__getitem__))
                judged.append((found.scores[i], "right"))
            elif any(truth.difficult[g] and overlaps[g] >= threshold for g in there):
                judged.append((found.scores[i], "ignored"))
            else:
                judged.append((found.scores[i], "wrong"))
    judged.sort(key=lambda pair: -pair[0])
    counting = int((~truth.difficult[truth.labels == label]).sum())
    return [outcome for _, outcome in judged], counting


def plain_overlap(one: np.ndarray, other: np.ndarray, *, crowd: bool) -> float:
    """Intersection over union, or over the first box's area if the second is a crowd."""
    a, b = one.tolist(), other.tolist()
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    mine, others = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (mine if crowd else mine + others - width * height)


def average_precision(outcomes: list[str], counting: int, recalls: Sequence[float]) -> float:
    """In percent, the mean over the recalls of the largest precision at that one or above; nan if there is nothing to find."""
    if not counting:
        return np.nan
    points, right, wrong = [], 0, 0
    for outcome in outcomes:
        right += outcome == "right"
        wrong += outcome == "wrong"
        if right + wrong:
            points.append((right / counting, right / (right + wrong)))
    best = [max((precision for recall, precision in points if recall >= level), default=0.0) for level in recalls]
    return 100 * sum(best) / len(recalls)


def per_class(found: Detections, truth: Truth, classes: int) -> np.ndarray:
    """(2, 10, K) by both rules."""
    return np.array(
        [
            [
                [average_precision(*rule(found, truth, label, threshold), recalls) for label in range(classes)]
                for threshold in thresholds
            ]
            for rule, thresholds, recalls in (
                (voc_outcomes, VOC_THRESHOLDS, VOC_RECALLS),
                (coco_outcomes, COCO_THRESHOLDS, COCO_RECALLS),
            )
        ]
    )


def summary(precisions: np.ndarray) -> dict[str, float]:
    """The six scores from what `per_class` gives; nan where no class has anything to find."""
    kept = ~np.isnan(precisions[0, 0])
    means = precisions[:, :, kept].mean(axis=2) if kept.any() else np.full(precisions.shape[:2], np.nan)
    found = {}
    for rule, suffix in enumerate(("", "_coco")):
        found |= {f"AP{suffix}": means[rule].mean(), f"AP50{suffix}": means[rule, 0], f"AP75{suffix}": means[rule, 5]}
    return found


def pictures(found: Detections, truth: Truth, drawn: Sequence[int]) -> tuple[Detections, Truth]:
    """The data set whose pictures are those drawn, each as often as it was."""
    kept = [np.flatnonzero(found.image == image) for image in drawn]
    there = [np.flatnonzero(truth.image == image) for image in drawn]
    f, t = np.concatenate(kept), np.concatenate(there)
    image = np.repeat(np.arange(len(drawn)), [len(rows) for rows in kept])
    of_truth = np.repeat(np.arange(len(drawn)), [len(rows) for rows in there])
    return (
        Detections(image, found.boxes[f], found.labels[f], found.scores[f]),
        Truth(len(drawn), of_truth, truth.boxes[t], truth.labels[t], truth.difficult[t]),
    )
