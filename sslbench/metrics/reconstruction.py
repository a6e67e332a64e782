"""Scores of reconstructed pictures: how far their colours are from the originals', and how much of that is colour alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.resampling import Pooled, Scale, pooled_scores
from sslbench.metrics.score import Score

MAIN = "mse"
UNIT = "levels²"
_CHANNELS = ("red", "green", "blue")
_SQUARED = Scale(UNIT, higher_is_better=False, limits=(0.0, 255.0**2))
# LPIPS has no upper limit.
_DISTANCE = Scale("LPIPS", higher_is_better=False, limits=(0.0, math.inf))


def colour_errors(pictures: NDArray[Any], reconstructions: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Mean squared errors of each picture (N,), in squared levels of 0 to 255.

    `mse_red`, `mse_green`, `mse_blue` are those of a channel (Ericsson et al. 2021, section 4.8 and appendix A.8), `mse` is their
    mean. It is the sum of `mse_grey` and `mse_chroma`: a pixel's error, of three channels, is its mean, which makes it lighter or
    darker, and what is left of each channel, which changes its colour alone. A perfect reconstruction without colour, each pixel
    the mean of its channels, has `mse_grey` 0, and for `mse_chroma` the pictures' own variance between channels.

    Args:
        pictures, reconstructions: (N, H, W, 3), red, green and blue, in levels of 0 to 255, whole or not.

    Raises:
        ValueError: other shapes, or numbers that are no levels.
    """
    for name, values in (("pictures", pictures), ("reconstructions", reconstructions)):
        if values.ndim != 4 or values.shape[3] != 3 or not values.size:
            raise ValueError(f"{name}: expected (N, H, W, 3), got {values.shape}")
        if not ((values >= 0) & (values <= 255)).all():
            raise ValueError(f"{name}: expected levels from 0 to 255, got {values.min():g} to {values.max():g}")
    if pictures.shape != reconstructions.shape:
        raise ValueError(
            f"reconstructions: expected the shape of the pictures, {pictures.shape}, got {reconstructions.shape}"
        )
    off = reconstructions.astype(np.float64) - pictures.astype(np.float64)
    channels = (off**2).mean(axis=(1, 2))
    lightness = off.mean(axis=3, keepdims=True)
    return {
        MAIN: channels.mean(axis=1),
        **{f"mse_{name}": channels[:, place] for place, name in enumerate(_CHANNELS)},
        "mse_grey": (lightness**2).mean(axis=(1, 2, 3)),
        "mse_chroma": ((off - lightness) ** 2).mean(axis=(1, 2, 3)),
    }


def error_of_constant(pictures: NDArray[Any]) -> float:
    """The `mse` of who paints all pictures (N, H, W, 3) in one colour, the best there is: their mean."""
    pixels = pictures.reshape(-1, 3).astype(np.float64)
    return float(((pixels - pixels.mean(axis=0)) ** 2).mean())


def chroma_of_grey(pictures: NDArray[Any]) -> float:
    """The `mse_chroma` of who has everything but colour: of each pixel the mean of its channels."""
    levels = pictures.astype(np.float64)
    return float(((levels - levels.mean(axis=3, keepdims=True)) ** 2).mean())


def reconstruction_scores(
    errors: Mapping[str, NDArray[np.float64]], distances: Mapping[str, NDArray[np.float64]]
) -> dict[str, tuple[Score, NDArray[np.float64]]]:
    """Means over the pictures, by name, each with its values on resamples of the pictures (R,).

    errors: of `colour_errors`. distances: perceptual ones of the same pictures (N,). Of a single picture standard error and
    interval are nan. Raises ValueError for numbers that are not finite, and for none.
    """
    scales = dict.fromkeys(errors, _SQUARED) | dict.fromkeys(distances, _DISTANCE)
    every = {**errors, **distances}
    parts = {
        name: Pooled(np.stack([values, np.ones_like(values)], axis=1), _mean, scales[name])
        for name, values in every.items()
    }
    return pooled_scores(parts)


def _mean(sums: NDArray[np.float64]) -> float:
    return float(sums[0] / sums[1])
