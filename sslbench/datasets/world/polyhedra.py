"""Convex polyhedra as intersections of half-spaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sslbench.datasets.world.arrays import Floats
from sslbench.datasets.world.rays import MISS, Rays, nonzero

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Polyhedron:
    """All points p with ``normal . p <= inradius`` for every outward unit ``normal``.

    Attributes:
        normals: outward unit normals of the faces, in object axes.
        inradius: distance of every face from the centre.
        reach: radius of the sphere through the corners.
    """

    normals: tuple[Vector, ...]
    inradius: float
    reach: float

    def cast(self, rays: Rays) -> Floats:
        """(G, B, B) height of the hit, -inf for a miss."""
        top: Floats | np.float32 = np.float32(np.inf)
        bottom: Floats | np.float32 = np.float32(-np.inf)
        for normal in self.normals:
            base, slope = rays.along(normal)
            slope = nonzero(slope)
            bound = (np.float32(self.inradius) - base) / slope
            top = np.minimum(top, np.where(slope > 0, bound, np.float32(np.inf)))
            bottom = np.maximum(bottom, np.where(slope < 0, bound, np.float32(-np.inf)))
        return np.where(top > bottom, top, MISS)

    def normal(self, point: Floats, view: Floats) -> Floats:
        """(3, M) outward normals at the hit ``point`` (3, M); ``view`` (3, M) points at the camera. Object axes."""
        normals: Floats = np.array(self.normals, np.float32)
        distance = np.full(point.shape[1], -np.inf, np.float32)
        face = np.zeros(point.shape[1], np.int64)
        for index, (i, j, k) in enumerate(normals):
            outside = i * point[0] + j * point[1] + k * point[2]
            seen = i * view[0] + j * view[1] + k * view[2] > 0
            nearer = seen & (outside > distance)
            distance = np.where(nearer, outside, distance)
            face[nearer] = index
        return normals.T[:, face]


def _unit(*vectors: Vector) -> tuple[Vector, ...]:
    lengths = [sum(part**2 for part in vector) ** 0.5 for vector in vectors]
    return tuple((x / length, y / length, z / length) for (x, y, z), length in zip(vectors, lengths, strict=True))


def _scaled(normals: tuple[Vector, ...], area: float, reach: float) -> Polyhedron:
    """Scale the polyhedron of inradius 1 to the surface of a unit sphere: by Cauchy the mean silhouettes agree."""
    scale = (4 * np.pi / area) ** 0.5
    return Polyhedron(normals, inradius=scale, reach=scale * reach)


_SIGNS = (-1.0, 1.0)
# Areas and corner distances are those of inradius 1.
CUBE = _scaled(
    ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)),
    area=24,
    reach=3**0.5,
)
TETRAHEDRON = _scaled(
    _unit((0, -1, 0), (8**0.5, 1, 0), (-(2**0.5), 1, 6**0.5), (-(2**0.5), 1, -(6**0.5))),
    area=24 * 3**0.5,
    reach=3,
)
OCTAHEDRON = _scaled(
    _unit(*((i, j, k) for i in _SIGNS for j in _SIGNS for k in _SIGNS)),
    area=12 * 3**0.5,
    reach=3**0.5,
)
