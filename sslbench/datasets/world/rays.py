"""Parallel rays through boxes of pixels, seen from the solids they are cast at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sslbench.datasets.world.arrays import Floats

MISS = np.float32(-np.inf)
# Stands in for the zero by which a ray parallel to a face or an axis would have to be divided: the hit
# that it gives lies far outside the solid.
TINY = np.float32(1e-6)


@dataclass(frozen=True)
class Rays:
    """One box of B x B rays for each of G solids of the same shape.

    All lengths are in units of the solid's size and relative to its centre, so that the point at height z above
    pixel (x, y) is (x, y, z) in camera axes. The camera looks down along z: a ray hits at its greatest z.

    Attributes:
        x: (G, 1, B) of the pixel columns.
        y: (G, B, 1) of the pixel rows.
        rotation: (G, 3, 3) object axes as columns, in camera axes.
    """

    x: Floats
    y: Floats
    rotation: Floats

    def along(self, direction: tuple[float, float, float]) -> tuple[Floats, Floats]:
        """Base (G, B, B) and slope (G, 1, 1): the point at height z lies ``base + z * slope`` along ``direction``.

        ``direction`` is in object axes.
        """
        i, j, k = (np.float32(part) for part in direction)
        turned = self.rotation[:, :, 0] * i + self.rotation[:, :, 1] * j + self.rotation[:, :, 2] * k
        across, up, slope = (turned[:, row, None, None] for row in range(3))
        return across * self.x + up * self.y, slope

    @property
    def off_centre(self) -> Floats:
        """(G, B, B) squared distance of each ray from the solid's centre."""
        return self.x**2 + self.y**2


def nonzero(values: Floats) -> Floats:
    """The values with those next to zero moved to a small positive number."""
    return np.where(np.abs(values) < TINY, TINY, values)


def upper_root(square: Floats | np.float32, half_linear: Floats | np.float32, constant: Floats) -> Floats:
    """Greater root of ``square z^2 + 2 half_linear z + constant`` for positive ``square``; -inf if there is none."""
    discriminant = half_linear**2 - square * constant
    root = (np.sqrt(np.maximum(discriminant, 0)) - half_linear) / square
    return np.where(discriminant >= 0, root, MISS)
