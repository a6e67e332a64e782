"""Where features move when a part of the picture is covered: the study's figure 9."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.picture_grid import grid_figures


def draw(source: Source) -> Drawn | LeftOut:
    """Originals beside every backbone's map, laid over the picture in grey."""
    return grid_figures(
        source,
        "occlusion",
        "attention",
        overlaid,
        title="Occlusion attention",
        note="Bright: features move much when this place is covered, each map from its own least to its own largest value. Left: "
        "data set and row of its test split.",
    )


def overlaid(picture: NDArray[np.uint8], attention: NDArray[Any]) -> NDArray[np.uint8]:
    """A map in colours over the picture in grey: (H, W, 3) from (H, W, 3) and (H, W), whatever the map's range.

    Raises ValueError where their sides differ.
    """
    from matplotlib import colormaps

    if attention.shape != picture.shape[:2]:
        raise ValueError(f"attention: expected a map {picture.shape[:2]} as the picture's, got {attention.shape}")
    values = attention.astype(np.float64)
    span = float(np.ptp(values))
    scaled = (values - values.min()) / span if span else np.zeros_like(values)
    grey = (picture.astype(np.float64) / 255) @ np.array([0.299, 0.587, 0.114])
    mixed = 0.65 * colormaps["inferno"](scaled)[..., :3] + 0.35 * grey[..., None]
    return np.asarray(np.rint(255 * mixed), dtype=np.uint8)


FIGURE = FigureSpec(
    "attention",
    "Test pictures with each backbone's occlusion attention laid over them.",
    draw,
    study="9",
    reads=lambda record: record.task["protocol"] == "occlusion",
)
