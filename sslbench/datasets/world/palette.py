"""Named colours as RGB."""

from __future__ import annotations

import numpy as np

from sslbench.datasets.world.arrays import Floats, Ints
from sslbench.datasets.world.draws import Draws

# Degrees on the HSV circle, in the order of COLOURS. The eye splits the warm side finer than the cool one.
HUES = np.array([0, 27, 54, 120, 180, 222, 272, 325], np.float32)
HUE_JITTER = 6.0


def rgb(hue: Floats, saturation: Floats, value: Floats) -> Floats:
    """(..., 3) RGB in 0..1 of HSV colours; ``hue`` in degrees, the others in 0..1."""
    sector = np.stack([hue, hue - 120, hue + 120], axis=-1) / np.float32(60) % 6
    fullness: Floats = np.clip(np.abs(sector - 3) - 1, 0, 1)
    return value[..., None] * (1 - saturation[..., None] * (1 - fullness))


def jittered(
    draws: Draws, name: str, colour: Ints, *, saturation: tuple[float, float], value: tuple[float, float]
) -> Floats:
    """(*colour.shape, 3) RGB near the named colours; -1 gives an arbitrary one."""
    shape = colour.shape[1:]
    hue = HUES[colour] + draws.uniform(f"{name}-hue", -HUE_JITTER, HUE_JITTER, *shape)
    strength = draws.uniform(f"{name}-saturation", *saturation, *shape)
    return rgb(hue, strength, draws.uniform(f"{name}-value", *value, *shape))
