"""Bounding boxes of instance masks."""

from __future__ import annotations

import numpy as np

from sslbench.datasets.world.arrays import Bytes, Floats, Mask


def instance_boxes(instances: Bytes, slots: int) -> Floats:
    """(N, slots, 4) x1, y1, x2, y2 tight around the pixels of (N, S, S) that equal slot + 1, nan if there are none.

    x2 and y2 are one past the last pixel.
    """
    boxes = np.empty((len(instances), slots, 4), np.float32)
    for slot in range(slots):
        mask = instances == slot + 1
        boxes[:, slot, 0], boxes[:, slot, 2] = _span(mask.any(axis=1))
        boxes[:, slot, 1], boxes[:, slot, 3] = _span(mask.any(axis=2))
    return boxes


def _span(occupied: Mask) -> tuple[Floats, Floats]:
    """First and one past the last true entry of each row (N, S), nan for a row without any."""
    first = np.argmax(occupied, axis=1).astype(np.float32)
    end = (occupied.shape[1] - np.argmax(occupied[:, ::-1], axis=1)).astype(np.float32)
    empty = ~occupied.any(axis=1)
    first[empty] = end[empty] = np.nan
    return first, end
