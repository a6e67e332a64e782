"""Textured backgrounds, each a mix of two colours.

Every field is a short sum of products of a function of y and a function of x, so that a picture costs one thin
matrix product.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sslbench.datasets.world.arrays import Floats
from sslbench.datasets.world.raycast import pixel_centres
from sslbench.datasets.world.scene import Scenes
from sslbench.datasets.world.vocabulary import BACKGROUNDS

BLOB_CELLS = 6


def backgrounds(scenes: Scenes, size: int) -> Floats:
    """(3, N, S, S) RGB, 1 being white."""
    grid = pixel_centres(size)
    mix = np.empty((len(scenes), size, size), np.float32)
    for index, name in enumerate(BACKGROUNDS):
        members = np.flatnonzero(scenes.background == index)
        mix[members] = FIELDS[name](scenes[members], grid)
    np.clip(mix, -1, 1, out=mix)
    mix = (mix + 1) * (scenes.background_contrast[:, None, None] * np.float32(0.5))
    first, second = (scenes.background_colours[:, end].T[:, :, None, None] for end in (0, 1))
    planes = np.empty((3, *mix.shape), np.float32)
    np.multiply(mix, second - first, out=planes)
    planes += first
    return planes


def gradient(scenes: Scenes, grid: Floats) -> Floats:
    """(N, S, S) a ramp along the first wave."""
    x, y, _ = scenes.background_waves[:, 0].T
    length = np.sqrt(x**2 + y**2)
    ramp: Floats = (-(y / length)[:, None] * grid)[:, :, None] + ((x / length)[:, None] * grid)[:, None, :]
    return ramp


def noise(scenes: Scenes, grid: Floats) -> Floats:
    """(N, S, S) smooth random values."""
    return np.float32(1.2) * _interpolated(scenes.background_lattice, grid)


def blobs(scenes: Scenes, grid: Floats) -> Floats:
    """(N, S, S) random patches with sharp rims."""
    return np.float32(8) * _interpolated(scenes.background_lattice[:, :BLOB_CELLS, :BLOB_CELLS], grid)


def stripes(scenes: Scenes, grid: Floats) -> Floats:
    """(N, S, S) the first wave, nearly square."""
    return np.float32(3) * _waves(scenes.background_waves[:, :1], grid)


def plaid(scenes: Scenes, grid: Floats) -> Floats:
    """(N, S, S) two crossing waves."""
    return np.float32(1.2) * _waves(scenes.background_waves, grid)


FIELDS: dict[str, Callable[[Scenes, Floats], Floats]] = {
    "gradient": gradient,
    "noise": noise,
    "blobs": blobs,
    "stripes": stripes,
    "plaid": plaid,
}


def _waves(waves: Floats, grid: Floats) -> Floats:
    """(N, S, S) sum of cos(x-frequency * x + y-frequency * y + phase) over the waves (N, W, 3)."""
    x, y, phase = (waves[:, :, part, None] for part in range(3))
    across, up = x * grid + phase, -y * grid
    rows = np.concatenate([np.cos(up), -np.sin(up)], axis=1)
    columns = np.concatenate([np.cos(across), np.sin(across)], axis=1)
    field: Floats = np.matmul(np.ascontiguousarray(rows.transpose(0, 2, 1)), columns)
    return field


def _interpolated(lattice: Floats, grid: Floats) -> Floats:
    """(N, S, S) values of the lattice (N, L, L), whose corners are the picture's, smoothly interpolated."""
    cells = lattice.shape[1]
    steps = np.abs((grid[:, None] + 1) * np.float32((cells - 1) / 2) - np.arange(cells, dtype=np.float32))
    near = np.maximum(1 - steps, 0)
    weights = near * near * (3 - 2 * near)
    field: Floats = np.matmul(weights, np.matmul(np.ascontiguousarray(lattice), np.ascontiguousarray(weights.T)))
    return field
