"""Casting rays at every object of a batch of scenes and keeping the nearest hit of each pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sslbench.datasets.world.arrays import Floats, Ints
from sslbench.datasets.world.rays import MISS, Rays
from sslbench.datasets.world.scene import Scenes
from sslbench.datasets.world.solids import SOLIDS, Solid
from sslbench.datasets.world.vocabulary import SHAPES

# Objects whose projected boxes round up to the same multiple share one batch of rays.
BOX_STEP = 4


@dataclass(frozen=True)
class Hits:
    """The M visible surface points of a batch of N pictures of S x S pixels with K slots.

    Attributes:
        pixel: (M,) index into the flattened (N, S, S).
        owner: (M,) index into the flattened (N, K).
        depth: (M,) z in camera units; the nearest point of a pixel has the greatest.
        point: (3, M) in object axes, in units of the solid's size.
        normal: (3, M) unit outward normal in camera axes.
    """

    pixel: Ints
    owner: Ints
    depth: Floats
    point: Floats
    normal: Floats


def pixel_centres(size: int) -> Floats:
    """(size,) x of the pixel columns in -1..1; y of the rows is the negative."""
    return (2 * np.arange(size, dtype=np.float32) + 1) / np.float32(size) - 1


def visible_hits(scenes: Scenes, size: int) -> Hits:
    """The nearest hit of every pixel that an object covers."""
    parts = list(_hits(scenes, size))
    pixel = np.concatenate([part.pixel for part in parts])
    depth = np.concatenate([part.depth for part in parts])
    # A lone object meets each pixel only once, so that sorting out its hits would only cost time.
    kept: Ints | slice = slice(None)
    if scenes.shape.shape[1] > 1:
        nearest = np.full(len(scenes) * size * size, MISS)
        np.maximum.at(nearest, pixel, depth)
        kept = np.flatnonzero(depth == nearest[pixel])
    return Hits(
        pixel=pixel[kept],
        owner=np.concatenate([part.owner for part in parts])[kept],
        depth=depth[kept],
        point=np.concatenate([part.point for part in parts], axis=1)[:, kept],
        normal=np.concatenate([part.normal for part in parts], axis=1)[:, kept],
    )


def _hits(scenes: Scenes, size: int) -> Iterator[Hits]:
    """Hits of all objects, near or not, one batch for each shape and size of box."""
    shape = scenes.shape.ravel()
    extent = scenes.size.ravel()
    for index, name in enumerate(SHAPES):
        solid = SOLIDS[name]
        members = np.flatnonzero(shape == index)
        sides = np.ceil(extent[members] * np.float32(solid.reach * size / BOX_STEP) + 1 / BOX_STEP) * BOX_STEP
        sides = np.minimum(sides, size).astype(np.int64)
        for side in np.unique(sides):
            yield _cast(scenes, solid, members[sides == side], int(side), size)


def _cast(scenes: Scenes, solid: Solid, owner: Ints, side: int, size: int) -> Hits:
    """Hits of some objects of one shape in boxes of ``side`` x ``side`` pixels."""
    centre = scenes.position.reshape(-1, 3)[owner]
    extent = scenes.size.ravel()[owner]
    rotation = scenes.rotation.reshape(-1, 3, 3)[owner]
    columns = _box(centre[:, 0], side, size)
    rows = _box(-centre[:, 1], side, size)
    grid = pixel_centres(size)
    x = (grid[columns] - centre[:, :1]) / extent[:, None]
    y = (-grid[rows] - centre[:, 1:2]) / extent[:, None]

    height = solid.cast(Rays(x[:, None, :], y[:, :, None], rotation))
    found = height != MISS
    member = np.repeat(np.arange(owner.size), np.count_nonzero(found, axis=(1, 2)))
    across, up = np.broadcast_arrays(x[:, None, :], y[:, :, None])
    at = np.stack([across[found], up[found], height[found]])

    turn = rotation.reshape(-1, 9).T.take(member, axis=1).reshape(3, 3, -1)
    point = turn[0] * at[0] + turn[1] * at[1] + turn[2] * at[2]
    inner = solid.normal(point, turn[2])
    normal = turn[:, 0] * inner[0] + turn[:, 1] * inner[1] + turn[:, 2] * inner[2]
    # A ray that grazes the silhouette may meet a normal that rounding has turned away from the camera.
    normal[2] = np.maximum(normal[2], 0)
    normal /= np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)

    slots = scenes.shape.shape[1]
    pixel = ((owner // slots)[:, None, None] * size + rows[:, :, None]) * size + columns[:, None, :]
    return Hits(
        pixel=pixel[found],
        owner=owner[member],
        depth=centre[member, 2] + extent[member] * at[2],
        point=point,
        normal=normal,
    )


def _box(centre: Floats, side: int, size: int) -> Ints:
    """(G, side) pixel indices of a box around each centre, shifted to lie inside the picture."""
    first = np.floor((centre + 1) * np.float32(size / 2) - np.float32(side / 2) + np.float32(0.5)).astype(np.int64)
    inside: Ints = np.clip(first, 0, size - side)
    return inside[:, None] + np.arange(side)
