"""Scenes to pictures with their exact annotations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sslbench.datasets.world.arrays import Bytes, Floats
from sslbench.datasets.world.background import backgrounds
from sslbench.datasets.world.boxes import instance_boxes
from sslbench.datasets.world.raycast import Hits, visible_hits
from sslbench.datasets.world.sampling import GRAIN_STARTS
from sslbench.datasets.world.scene import Scenes
from sslbench.datasets.world.surface import surface_colours

MIN_SIZE = 8
NOISE_LEVELS = 3.0
# At its peak a chunk takes some 200 bytes a pixel, hence about 100 MB.
CHUNK_PIXELS = 1 << 19
# No surface reaches this plane (centres are below z = 0.5, and a solid within 1.65 of its size, at most 0.72, of its centre),
# so that 0 is free for pixels without one.
CAMERA_Z = 4.0


@dataclass(frozen=True)
class World:
    """N rendered pictures of S x S pixels with K object slots and what is true of them.

    Attributes:
        images: uint8 (N, S, S, 3) RGB.
        instances: uint8 (N, S, S); 0 on the background, i + 1 where slot i is the nearest surface.
        normals: float32 (N, S, S, 3) unit surface normals, x right, y up, z towards the camera; 0 on the background.
        boxes: float32 (N, K, 4) x1, y1, x2, y2 in pixels, tight around the visible pixels, x2 and y2 exclusive;
            nan where nothing is visible.
    """

    images: Bytes
    instances: Bytes
    normals: Floats
    boxes: Floats


@dataclass(frozen=True)
class Annotations:
    """What is true of N pictures, as in `World`, without the pictures."""

    instances: Bytes
    normals: Floats
    boxes: Floats


def annotate(scenes: Scenes, *, size: int = 64) -> Annotations:
    """The annotations that `render` gives, in about half of its time.

    Raises:
        ValueError: if ``size`` < 8.
    """
    found = _blank(scenes, size)
    for chunk in _chunks(len(scenes), size):
        _annotate_into(_part(found, chunk), scenes[chunk], size)
    return found


def depth_maps(scenes: Scenes, *, size: int = 64) -> Floats:
    """How far the visible surface of each pixel is from the camera's plane at z = ``CAMERA_Z``.

    Returns:
        float32 (N, S, S) in camera units, of which the picture is 2 wide; 0 on the background. Rays are parallel, so that a
        depth is a distance along z.

    Raises:
        ValueError: if ``size`` < 8.
    """
    _check_size(size)
    depths = np.zeros((len(scenes), size, size), np.float32)
    for chunk in _chunks(len(scenes), size):
        hits = visible_hits(scenes[chunk], size)
        depths[chunk].reshape(-1)[hits.pixel] = np.float32(CAMERA_Z) - hits.depth
    return depths


def render(scenes: Scenes, *, size: int = 64) -> World:
    """Render pictures of ``size`` x ``size`` pixels.

    Raises:
        ValueError: if ``size`` < 8.
    """
    found = _blank(scenes, size)
    images = np.empty((len(scenes), size, size, 3), np.uint8)
    for chunk in _chunks(len(scenes), size):
        hits = _annotate_into(_part(found, chunk), scenes[chunk], size)
        _paint_into(images[chunk], scenes[chunk], hits, size)
    return World(images, found.instances, found.normals, found.boxes)


def _check_size(size: int) -> None:
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE} pixels, got {size}")


def _blank(scenes: Scenes, size: int) -> Annotations:
    _check_size(size)
    total, slots = scenes.shape.shape
    return Annotations(
        instances=np.zeros((total, size, size), np.uint8),
        normals=np.zeros((total, size, size, 3), np.float32),
        boxes=np.empty((total, slots, 4), np.float32),
    )


def _chunks(total: int, size: int) -> Iterator[slice]:
    step = max(CHUNK_PIXELS // size**2, 1)
    return (slice(start, start + step) for start in range(0, total, step))


def _part(whole: Annotations, chunk: slice) -> Annotations:
    return Annotations(whole.instances[chunk], whole.normals[chunk], whole.boxes[chunk])


def _annotate_into(found: Annotations, scenes: Scenes, size: int) -> Hits:
    """Fill the arrays of ``found``, which start as zeros, from as many scenes."""
    hits = visible_hits(scenes, size)
    slots = scenes.shape.shape[1]
    found.instances.reshape(-1)[hits.pixel] = hits.owner % slots + 1
    found.normals.reshape(-1, 3)[hits.pixel] = hits.normal.T
    found.boxes[:] = instance_boxes(found.instances, slots)
    return hits


def _paint_into(images: Bytes, scenes: Scenes, hits: Hits, size: int) -> None:
    planes = backgrounds(scenes, size)
    planes.reshape(3, -1)[:, hits.pixel] = surface_colours(scenes, hits)
    planes *= 255
    grain = np.lib.stride_tricks.sliding_window_view(_grain(3 * size**2), 3 * size**2)
    planes += grain[scenes.grain].reshape(-1, 3, size, size).swapaxes(0, 1)
    np.clip(planes, 0, 255, out=planes)
    images[:] = planes.transpose(1, 2, 3, 0)


@lru_cache(maxsize=1)
def _grain(length: int) -> Floats:
    """Sensor noise in grey levels; every picture takes ``length`` numbers from its own start."""
    generator = np.random.Generator(np.random.PCG64(1))
    # The half turns the truncation to integers into rounding.
    return np.float32(NOISE_LEVELS) * generator.standard_normal(length + GRAIN_STARTS, np.float32) + np.float32(0.5)
