"""Sizes and positions of the objects, decided by the draws alone and never by looking at pixels."""

from __future__ import annotations

import numpy as np

from sslbench.datasets.world.arrays import Floats, Ints
from sslbench.datasets.world.draws import Draws
from sslbench.datasets.world.vocabulary import MAX_OBJECTS

SINGLE_SIZE = (0.48, 0.72)
# Shares of the picture's area that all objects of a scattered picture cover together. Drawn without regard to
# their number, so that neither the coloured area nor a histogram counts them.
SCATTER_COVER = (0.10, 0.22)
# Neighbours in the 3x3 grid keep 2/3 - 2 * SCATTER_JITTER between their centres. No solid reaches further than
# 1.65 sizes, so with this cap none covers a neighbour's centre.
SCATTER_MAX_SIZE = 0.30
SCATTER_JITTER = 0.08


def _within_frame(offset: Floats, size: Floats) -> Floats:
    """Scale offsets in -1..1 so that most of an object of that size stays in the picture."""
    room: Floats = np.maximum(1 - 1.3 * size, 0)
    return offset * room[..., None]


def place_single(draws: Draws) -> tuple[Floats, Floats]:
    """(n, 1, 3) positions and (n, 1) sizes of one large object a picture."""
    size = draws.uniform("size", *SINGLE_SIZE, 1)
    position = np.zeros((draws.n, 1, 3), np.float32)
    position[..., :2] = _within_frame(draws.uniform("position", -1, 1, 1, 2), size)
    return position, size


def place_scatter(draws: Draws, count: Ints) -> tuple[Floats, Floats]:
    """(n, K, 3) positions and (n, K) sizes; only the first ``count`` slots of a picture matter."""
    cover = draws.uniform("cover", *SCATTER_COVER, 1)
    share = draws.uniform("share", 0.8, 1.2, MAX_OBJECTS)
    size = share * np.sqrt(4 * cover / (np.pi * count[:, None].astype(np.float32)))
    lonely = count[:, None] == 1
    size = np.where(lonely, size, np.minimum(size, np.float32(SCATTER_MAX_SIZE)))

    cell = draws.permutations("cell", 9)[:, :MAX_OBJECTS]
    grid = np.stack([cell % 3 - 1, cell // 3 - 1], axis=-1).astype(np.float32) * np.float32(2 / 3)
    gridded = grid + draws.uniform("jitter", -SCATTER_JITTER, SCATTER_JITTER, MAX_OBJECTS, 2)
    free = _within_frame(draws.uniform("position", -1, 1, MAX_OBJECTS, 2), size)
    position = np.empty((draws.n, MAX_OBJECTS, 3), np.float32)
    position[..., :2] = np.where(lonely[..., None], free, gridded)
    position[..., 2] = draws.uniform("depth", -0.5, 0.5, MAX_OBJECTS)
    return position, size
