"""Solid textures: functions of the hit point in texture space.

Each maps (3, M) points, one pattern period to the unit, to (M,) values around zero, mostly near -1 and 1 in
equal parts, so that the mean colour of an object does not tell its texture.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from sslbench.datasets.world.arrays import Floats
from sslbench.datasets.world.vocabulary import TEXTURES

TURN = np.float32(2 * np.pi)
SPECKLES = 64


def _edge(signed: Floats, sharpness: float) -> Floats:
    edge: Floats = np.clip(signed * np.float32(sharpness), -1, 1)
    return edge


def plain(point: Floats) -> Floats:
    """No pattern."""
    return np.zeros(point.shape[1], np.float32)


def stripes(point: Floats) -> Floats:
    """Parallel layers."""
    return _edge(np.sin(TURN * point[0]), 3)


def checks(point: Floats) -> Floats:
    """A chequerboard."""
    half = TURN * np.float32(0.5)
    return _edge(np.sin(half * point[0]) * np.sin(half * point[1]), 6)


def dots(point: Floats) -> Floats:
    """Round columns on a square lattice."""
    u, v = point[0] - np.rint(point[0]), point[1] - np.rint(point[1])
    return _edge(np.float32(0.36**2) - u**2 - v**2, 18)


def rings(point: Floats) -> Floats:
    """Concentric tubes around the axis of extrusion."""
    return _edge(np.sin(TURN * np.sqrt(point[0] ** 2 + point[1] ** 2)), 3)


@cache
def _speckles() -> Floats:
    return np.random.Generator(np.random.PCG64(0)).standard_normal((SPECKLES, SPECKLES)).astype(np.float32)


def noise(point: Floats) -> Floats:
    """Irregular patches: smoothly interpolated values on a lattice."""
    u, v = point[0] * 2, point[1] * 2
    left, low = np.floor(u), np.floor(v)
    i, j = left.astype(np.int64) % SPECKLES, low.astype(np.int64) % SPECKLES
    right, high = (i + 1) % SPECKLES, (j + 1) % SPECKLES
    across, up = ((part * part * (3 - 2 * part)) for part in (u - left, v - low))
    table = _speckles()
    bottom = table[i, j] + across * (table[right, j] - table[i, j])
    top = table[i, high] + across * (table[right, high] - table[i, high])
    return _edge(bottom + up * (top - bottom), 2.5)


def bricks(point: Floats) -> Floats:
    """Courses of bricks, each shifted by half a brick, with mortar between them."""
    course = np.floor(point[1])
    along = point[0] * np.float32(0.6) + course * np.float32(0.5)
    to_joint = np.minimum(
        np.float32(0.5) - np.abs(point[1] - course - np.float32(0.5)),
        (np.float32(0.5) - np.abs(along - np.floor(along) - np.float32(0.5))) / np.float32(0.6),
    )
    tone: Floats = np.clip((to_joint - np.float32(0.15)) * 12, np.float32(-1.2), np.float32(0.8))
    return tone


def zigzag(point: Floats) -> Floats:
    """Layers bent into chevrons."""
    bend = np.abs(point[1] * np.float32(0.8) - np.rint(point[1] * np.float32(0.8)))
    return _edge(np.sin(TURN * (point[0] + 2 * bend)), 3)


PATTERNS: dict[str, Callable[[Floats], Floats]] = {
    "plain": plain,
    "stripes": stripes,
    "checks": checks,
    "dots": dots,
    "rings": rings,
    "noise": noise,
    "bricks": bricks,
    "zigzag": zigzag,
}
# Periods to the object's size, chosen by eye for about three repeats across an object.
DENSITY: dict[str, float] = {
    "plain": 1.0,
    "stripes": 2.0,
    "checks": 2.4,
    "dots": 2.0,
    "rings": 2.0,
    "noise": 2.2,
    "bricks": 2.0,
    "zigzag": 1.8,
}
# The offset moves a pattern by up to its period; rings, which have a centre to be seen, move within half of one.
SHIFT: dict[str, float] = {name: 0.5 if name == "rings" else 1.0 for name in TEXTURES}
