"""Kept maps as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.dense_kept import KeptMaps
from sslbench.results.gallery_colours import RGB, mask_picture, normal_picture, ramp_picture, striped

if TYPE_CHECKING:
    from PIL.Image import Image


def painted(one: KeptMaps, size: tuple[int, int]) -> tuple[Image, Image]:
    """Truth and prediction at a width and height; striped where the truth does not count, and nothing but the truth is."""
    from PIL import Image

    rows, columns = (
        (np.arange(shown) * kept // shown) for shown, kept in zip(size[::-1], one.truth.shape[:2], strict=True)
    )
    truth, predicted, counted = (part[rows[:, None], columns] for part in (one.truth, one.predicted, one.counted))
    low, high = distances(one)
    there, found = (_coloured(part, low, high) for part in (truth, predicted))
    return Image.fromarray(striped(there, counted)), Image.fromarray(found)


def distances(one: KeptMaps) -> tuple[float, float]:
    """The least and the largest true depth in metres; 0 and 1 for what is none."""
    if one.truth.dtype.kind != "f":
        return 0.0, 1.0
    known = one.truth[one.counted]
    return float(known.min(initial=np.inf)), float(known.max(initial=0))


def _coloured(values: NDArray[Any], low: float, high: float) -> RGB:
    if values.ndim == 3:
        return normal_picture(values)
    return ramp_picture(values, low, high) if values.dtype.kind == "f" else mask_picture(values)
