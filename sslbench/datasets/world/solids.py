"""The solid behind each name in SHAPES."""

from __future__ import annotations

from typing import Protocol

from sslbench.datasets.world.arrays import Floats
from sslbench.datasets.world.polyhedra import CUBE, OCTAHEDRON, TETRAHEDRON
from sslbench.datasets.world.rays import Rays
from sslbench.datasets.world.round_solids import CAPSULE, CONE, CYLINDER, SPHERE
from sslbench.datasets.world.torus import TORUS


class Solid(Protocol):
    """A solid about the origin of its object axes whose mean silhouette has about the area of the unit disc."""

    @property
    def reach(self) -> float:
        """Radius of a sphere about the origin that holds the solid."""

    def cast(self, rays: Rays) -> Floats:
        """(G, B, B) height of the hit, -inf for a miss."""

    def normal(self, point: Floats, view: Floats) -> Floats:
        """(3, M) outward normals, unit up to rounding, at the hit points (3, M)."""


SOLIDS: dict[str, Solid] = {
    "sphere": SPHERE,
    "cube": CUBE,
    "cylinder": CYLINDER,
    "cone": CONE,
    "torus": TORUS,
    "capsule": CAPSULE,
    "tetrahedron": TETRAHEDRON,
    "octahedron": OCTAHEDRON,
}
