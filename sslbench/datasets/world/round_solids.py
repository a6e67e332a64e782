"""Solids of revolution about the second object axis, hit in closed form.

A ray point at height z is ``z^2 + off_centre`` from the centre, squared, and ``base + z * slope`` along the axis,
so every quadric here is a quadratic in z with one plane of coefficients. Dimensions give each solid the surface of
a unit sphere, which by Cauchy's formula makes the mean silhouettes equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sslbench.datasets.world.arrays import Floats
from sslbench.datasets.world.rays import MISS, TINY, Rays, nonzero, upper_root

AXIS = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Sphere:
    """The unit sphere."""

    reach: float = 1.0

    def cast(self, rays: Rays) -> Floats:
        """(G, B, B) height of the hit, -inf for a miss."""
        squared = 1 - rays.off_centre
        return np.where(squared >= 0, np.sqrt(np.maximum(squared, 0)), MISS)

    def normal(self, point: Floats, view: Floats) -> Floats:
        """(3, M) outward normals at the hit ``point`` (3, M). Object axes."""
        return point


@dataclass(frozen=True)
class Cylinder:
    """A right circular cylinder; ``half`` is half its height."""

    radius: float
    half: float

    @property
    def reach(self) -> float:
        """Radius of the smallest sphere around it."""
        return float(np.hypot(self.radius, self.half))

    def cast(self, rays: Rays) -> Floats:
        """(G, B, B) height of the hit, -inf for a miss."""
        base, slope = rays.along(AXIS)
        slope = nonzero(slope)
        side = upper_root(
            np.maximum(1 - slope**2, TINY), -base * slope, rays.off_centre - base**2 - np.float32(self.radius**2)
        )
        side = np.where(np.abs(base + side * slope) <= np.float32(self.half), side, MISS)
        cap = np.copysign(np.float32(self.half), slope)
        height = (cap - base) / slope
        on_cap = rays.off_centre + height**2 - cap**2 <= np.float32(self.radius**2)
        return np.maximum(side, np.where(on_cap, height, MISS))

    def normal(self, point: Floats, view: Floats) -> Floats:
        """(3, M) outward normals at the hit ``point`` (3, M); ``view`` (3, M) points at the camera. Object axes."""
        x, y, z = point
        across = np.maximum(np.sqrt(x**2 + z**2), TINY)
        on_cap = (np.abs(y) - np.float32(self.half) > across - np.float32(self.radius)) & (y * view[1] > 0)
        zero = np.zeros_like(y)
        return np.where(on_cap, np.stack([zero, np.sign(y), zero]), np.stack([x, zero, z]) / across)


@dataclass(frozen=True)
class Cone:
    """A right circular cone with its apex at ``apex`` and its base at ``foot`` along the axis."""

    radius: float
    foot: float
    apex: float

    @property
    def reach(self) -> float:
        """Radius of a sphere about the origin around it."""
        return max(self.apex, float(np.hypot(self.radius, self.foot)))

    @property
    def _taper(self) -> np.float32:
        return np.float32(self.radius / (self.apex - self.foot))

    def cast(self, rays: Rays) -> Floats:
        """(G, B, B) height of the hit, -inf for a miss."""
        base, slope = rays.along(AXIS)
        slope = nonzero(slope)
        flare = 1 + self._taper**2
        below = np.float32(self.apex) - base
        # The double cone |p|^2 - y^2 = taper^2 (apex - y)^2 as square z^2 + 2 half z + constant.
        square = nonzero(1 - flare * slope**2)
        half = (-base + self._taper**2 * below) * slope
        constant = rays.off_centre - base**2 - (self._taper * below) ** 2
        discriminant = half**2 - square * constant
        root = np.sqrt(np.maximum(discriminant, 0))
        height = (np.float32(self.foot) - base) / slope
        on_foot = rays.off_centre + height**2 - np.float32(self.foot**2) <= np.float32(self.radius**2)
        best = np.where(on_foot, height, MISS)
        for side in ((-half + root) / square, (-half - root) / square):
            along = base + side * slope
            on_side = (discriminant >= 0) & (along >= np.float32(self.foot)) & (along <= np.float32(self.apex))
            best = np.where(on_side, np.maximum(best, side), best)
        return best

    def normal(self, point: Floats, view: Floats) -> Floats:
        """(3, M) outward normals at the hit ``point`` (3, M); ``view`` (3, M) points at the camera. Object axes."""
        x, y, z = point
        across = np.maximum(np.sqrt(x**2 + z**2), TINY)
        outside = (across - self._taper * (np.float32(self.apex) - y)) / np.sqrt(1 + self._taper**2)
        on_foot = (np.float32(self.foot) - y > outside) & (view[1] < 0)
        zero = np.zeros_like(y)
        side = np.stack([x / across, zero + self._taper, z / across]) / np.sqrt(1 + self._taper**2)
        return np.where(on_foot, np.stack([zero, zero - 1, zero]), side)


@dataclass(frozen=True)
class Capsule:
    """All points within ``radius`` of the stretch of the axis from -half to half."""

    radius: float
    half: float

    @property
    def reach(self) -> float:
        """Radius of the smallest sphere around it."""
        return self.radius + self.half

    def cast(self, rays: Rays) -> Floats:
        """(G, B, B) height of the hit, -inf for a miss."""
        base, slope = rays.along(AXIS)
        slope = nonzero(slope)
        inner = rays.off_centre - np.float32(self.radius**2)
        side = upper_root(np.maximum(1 - slope**2, TINY), -base * slope, inner - base**2)
        best = np.where(np.abs(base + side * slope) <= np.float32(self.half), side, MISS)
        for end in (np.float32(self.half), np.float32(-self.half)):
            best = np.maximum(best, upper_root(np.float32(1), -end * slope, inner + end**2 - 2 * end * base))
        return best

    def normal(self, point: Floats, view: Floats) -> Floats:
        """(3, M) outward normals at the hit ``point`` (3, M). Object axes."""
        x, y, z = point
        beyond = y - np.minimum(np.maximum(y, np.float32(-self.half)), np.float32(self.half))
        return np.stack([part / np.float32(self.radius) for part in (x, beyond, z)])


SPHERE = Sphere()
CYLINDER = Cylinder(radius=0.79, half=0.87)
CONE = Cone(radius=1.11, foot=-0.83, apex=1.39)
CAPSULE = Capsule(radius=0.65, half=0.89)
