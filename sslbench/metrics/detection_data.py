"""What a detector found and what is there: boxes with labels on pictures, and the checks of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Detections:
    """M detections on N pictures, in any order.

    image: int64 (M,), the picture of each, 0..N-1. boxes: float32 (M, 4), x1 y1 x2 y2 in pixels from the picture's left upper
    corner, as continuous edges, so that a box from x1 to x2 is x2 - x1 wide. labels: int64 (M,), classes. scores: float32 (M,);
    only their order counts.
    """

    image: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """G annotated objects on N pictures, in any order.

    images: N, those without an object among them. image, boxes, labels: as in `Detections`, (G,), (G, 4), (G,). difficult: bool
    (G,), objects that count neither as found nor as missed.
    """

    images: int
    image: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]


def checked(found: Detections, truth: Truth, classes: int | None = None) -> tuple[Detections, Truth]:
    """Both with arrays of the types that their classes name. classes: K; None for any number.

    Numbers of another type are taken where they lose nothing that counts: whole numbers of any width, reals as float32.

    Raises:
        ValueError: no picture, or no class; shapes that do not belong together; pictures outside 0..N-1 or labels outside 0..K-1;
            numbers that are not finite; boxes whose second corner is left of or above the first.
    """
    if truth.images < 1:
        raise ValueError(f"truth.images: expected at least one picture, got {truth.images}")
    if classes is not None and classes < 1:
        raise ValueError(f"classes: expected at least one class, got {classes}")
    scores = _reals(found.scores, "found.scores", (np.size(found.image),))
    difficult = np.asarray(truth.difficult)
    if difficult.dtype != np.bool_ or difficult.shape != np.shape(truth.image):
        told = f"{difficult.dtype} {difficult.shape}"
        raise ValueError(f"truth.difficult: expected bool {np.shape(truth.image)}, as truth.image, got {told}")
    return (
        Detections(*_objects(found, "found", truth.images, classes), scores),
        Truth(truth.images, *_objects(truth, "truth", truth.images, classes), difficult),
    )


def _objects(
    given: Detections | Truth, name: str, images: int, classes: int | None
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    image = _places(given.image, f"{name}.image", images, "pictures")
    labels = _places(given.labels, f"{name}.labels", classes, "classes")
    if labels.shape != image.shape:
        raise ValueError(f"{name}.labels: expected shape {image.shape}, that of {name}.image, got {labels.shape}")
    boxes = _reals(given.boxes, f"{name}.boxes", (*image.shape, 4))
    bad = np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1))
    if bad.size:
        told = f"got {boxes[bad[0]].tolist()} in row {bad[0]}, the first of {bad.size}"
        raise ValueError(f"{name}.boxes: expected x1 <= x2 and y1 <= y2, {told}")
    return image, boxes, labels


def _places(values: NDArray[Any], name: str, limit: int | None, what: str) -> NDArray[np.int64]:
    values = np.asarray(values)
    if values.ndim != 1 or not (np.issubdtype(values.dtype, np.integer) or not values.size):
        raise ValueError(f"{name}: expected whole numbers (M,), got {values.dtype} {values.shape}")
    bad = np.flatnonzero((values < 0) | (values >= limit if limit is not None else False))
    if bad.size:
        among = f"numbers of {what} in 0..{limit - 1}" if limit is not None else f"numbers of {what} from 0"
        raise ValueError(f"{name}: expected {among}, got {values[bad[0]]} in row {bad[0]}, the first of {bad.size}")
    return values.astype(np.int64, copy=False)


def _reals(values: NDArray[Any], name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = np.asarray(values)
    if values.dtype.kind not in "fiu" or values.shape != shape:
        raise ValueError(f"{name}: expected real numbers {shape}, got {values.dtype} {values.shape}")
    values = values.astype(np.float32, copy=False)
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        row = bad[0, 0]
        raise ValueError(f"{name}: expected finite numbers, got {values[row].tolist()} in row {row}")
    return values
