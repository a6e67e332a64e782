"""The torus, whose quartic is not solved but approached by sphere tracing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sslbench.datasets.world.arrays import Floats
from sslbench.datasets.world.rays import MISS, Rays, nonzero, upper_root
from sslbench.datasets.world.round_solids import AXIS

STEPS = 40
# In sizes, of which a picture holds at most a few dozen pixels each: under a tenth of a pixel.
TOLERANCE = np.float32(1e-3)


@dataclass(frozen=True)
class Torus:
    """A tube of radius ``minor`` around the circle of radius ``major`` about the second object axis."""

    major: float
    minor: float

    @property
    def reach(self) -> float:
        """Radius of the smallest sphere around it."""
        return self.major + self.minor

    def cast(self, rays: Rays) -> Floats:
        """(G, B, B) height of the hit, -inf for a miss."""
        base, slope = rays.along(AXIS)
        slope = nonzero(slope)
        # Enter where the bounding sphere and the slab |axis| <= minor have both been entered.
        sphere = upper_root(np.float32(1), np.float32(0), rays.off_centre - np.float32(self.reach**2))
        slab = (np.copysign(np.float32(self.minor), slope) - base) / slope
        start = np.minimum(sphere, slab)
        near = np.flatnonzero(start**2 + rays.off_centre <= np.float32(1.0001 * self.reach**2))
        height = start.ravel()[near]
        squared, along = rays.off_centre.ravel()[near], base.ravel()[near]
        rate = np.broadcast_to(slope, base.shape).ravel()[near]
        distance = np.zeros_like(height)
        for _ in range(STEPS):
            height = height - distance
            axial = along + height * rate
            across = np.sqrt(np.maximum(squared + height**2 - axial**2, 0))
            distance = np.sqrt((across - np.float32(self.major)) ** 2 + axial**2) - np.float32(self.minor)
        hit = np.full(base.size, MISS)
        hit[near] = np.where(distance < TOLERANCE, height, MISS)
        return hit.reshape(base.shape)

    def normal(self, point: Floats, view: Floats) -> Floats:
        """(3, M) outward normals at the hit ``point`` (3, M). Object axes."""
        x, y, z = point
        across = np.sqrt(x**2 + z**2)
        inwards = 1 - np.float32(self.major) / across
        return np.stack([x * inwards, y, z * inwards])


TORUS = Torus(major=1.04, minor=0.36)
