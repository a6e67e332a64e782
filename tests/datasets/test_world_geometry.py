"""Hits, depths and normals against closed forms and against marching through implicit solids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sslbench.datasets.world import SHAPES, Scenes, render, sample_scenes
from sslbench.datasets.world.polyhedra import CUBE, OCTAHEDRON, TETRAHEDRON
from sslbench.datasets.world.raycast import Hits, pixel_centres, visible_hits
from sslbench.datasets.world.round_solids import CAPSULE, CONE, CYLINDER
from sslbench.datasets.world.solids import SOLIDS
from sslbench.datasets.world.torus import TORUS

Doubles = NDArray[np.float64]
SIZE = 24
POSES = 4


def _tetrahedron(p: Doubles) -> Doubles:
    """Greatest negated barycentric coordinate with respect to the four corners."""
    corners = -3 * TETRAHEDRON.inradius * np.array(TETRAHEDRON.normals)
    system = np.vstack([corners.T, np.ones(4)])
    flat = np.vstack([p.reshape(3, -1), np.ones(p[0].size)])
    weights = np.linalg.solve(system, flat)
    return np.asarray(-weights.min(axis=0).reshape(p.shape[1:]))


def _capsule(p: Doubles) -> Doubles:
    nearest = np.clip(p[1], -CAPSULE.half, CAPSULE.half)
    return np.asarray(np.sqrt(p[0] ** 2 + (p[1] - nearest) ** 2 + p[2] ** 2) - CAPSULE.radius)


def _cone(p: Doubles) -> Doubles:
    across = np.hypot(p[0], p[2])
    return np.asarray(np.maximum(across - CONE.radius * (CONE.apex - p[1]) / (CONE.apex - CONE.foot), CONE.foot - p[1]))


# Negative inside, zero on the surface, positive outside; second object axis is the axis of revolution.
IMPLICIT: dict[str, Callable[[Doubles], Doubles]] = {
    "sphere": lambda p: np.sqrt((p**2).sum(axis=0)) - 1,
    "cube": lambda p: np.abs(p).max(axis=0) - CUBE.inradius,
    "cylinder": lambda p: np.maximum(np.hypot(p[0], p[2]) - CYLINDER.radius, np.abs(p[1]) - CYLINDER.half),
    "cone": _cone,
    "torus": lambda p: np.hypot(np.hypot(p[0], p[2]) - TORUS.major, p[1]) - TORUS.minor,
    "capsule": _capsule,
    "tetrahedron": _tetrahedron,
    "octahedron": lambda p: np.abs(p).sum(axis=0) - OCTAHEDRON.inradius * 3**0.5,
}


def _posed(shape: str) -> Scenes:
    """POSES scenes of one shape in any orientation at all, partly outside the picture."""
    rng = np.random.default_rng(SHAPES.index(shape))
    rotation, _ = np.linalg.qr(rng.standard_normal((POSES, 1, 3, 3)))
    rotation[..., 0] *= np.linalg.det(rotation)[..., None]
    return replace(
        sample_scenes(POSES, kind="single", seed=0),
        shape=np.full((POSES, 1), SHAPES.index(shape)),
        position=rng.uniform(-0.5, 0.5, (POSES, 1, 3)).astype(np.float32),
        size=rng.uniform(0.3, 0.6, (POSES, 1)).astype(np.float32),
        rotation=rotation.astype(np.float32),
    )


def _march(scenes: Scenes, shape: str) -> tuple[Doubles, Doubles]:
    """(N, S, S) depth of the first point inside, -inf for a miss, and how deep inside the solid each ray gets."""
    inside = IMPLICIT[shape]
    grid = pixel_centres(SIZE).astype(np.float64)
    heights = np.linspace(1.7, -1.7, 1200)
    depth, deepest = np.empty((2, POSES, SIZE, SIZE))
    for picture in range(POSES):
        rotation = scenes.rotation[picture, 0].astype(np.float64)
        centre, size = scenes.position[picture, 0].astype(np.float64), float(scenes.size[picture, 0])

        def at(z: Doubles, rotation: Doubles = rotation, centre: Doubles = centre, size: float = size) -> Doubles:
            x, y = (grid - centre[0]) / size, (-grid - centre[1]) / size
            camera = np.stack(np.broadcast_arrays(x[None, None, :], y[None, :, None], z))
            return np.asarray(inside(np.einsum("ck,czij->kzij", rotation, camera)))

        values = at(heights[:, None, None])
        found = values <= 0
        first = found.argmax(axis=0)
        low, high = heights[first], heights[np.maximum(first - 1, 0)]
        for _ in range(30):
            middle = (low + high) / 2
            within = at(middle[None])[0] <= 0
            low, high = np.where(within, middle, low), np.where(within, high, middle)
        depth[picture] = np.where(found.any(axis=0), centre[2] + size * low, -np.inf)
        deepest[picture] = values.min(axis=0)
    return depth, deepest


def _depths(hits: Hits) -> NDArray[np.float32]:
    depth = np.full(POSES * SIZE * SIZE, -np.inf, np.float32)
    depth[hits.pixel] = hits.depth
    return depth.reshape(POSES, SIZE, SIZE)


@pytest.mark.parametrize("shape", SHAPES)
def test_hits_agree_with_marching_through_the_implicit_solid(shape: str) -> None:
    scenes = _posed(shape)
    depth = _depths(visible_hits(scenes, SIZE))
    expected, deepest = _march(scenes, shape)
    # A ray that only grazes the solid may go either way.
    clear = np.abs(deepest) > 0.01
    assert clear.mean() > 0.95
    assert np.isfinite(expected).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(np.isfinite(depth)[clear], np.isfinite(expected)[clear])
    both = clear & np.isfinite(expected)
    np.testing.assert_allclose(depth[both], expected[both], atol=3e-3)
    assert np.median(np.abs(depth[both] - expected[both])) < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_normals_are_the_gradient_of_the_implicit_solid(shape: str) -> None:
    scenes = _posed(shape)
    hits = visible_hits(scenes, SIZE)
    point = hits.point.astype(np.float64)
    step = 1e-5
    gradient = np.stack(
        [
            IMPLICIT[shape](point + step * axis[:, None]) - IMPLICIT[shape](point - step * axis[:, None])
            for axis in np.eye(3)
        ]
    )
    gradient /= np.linalg.norm(gradient, axis=0)
    expected = np.einsum("mck,km->cm", scenes.rotation[hits.owner, 0].astype(np.float64), gradient)
    agreement = (expected * hits.normal).sum(axis=0)
    # Next to an edge the difference quotient straddles two faces.
    assert np.mean(agreement > 0.9999) > 0.99


@pytest.mark.parametrize("shape", SHAPES)
def test_reach_holds_the_solid(shape: str) -> None:
    direction = np.random.default_rng(0).standard_normal((3, 20_000))
    direction *= SOLIDS[shape].reach * 1.0001 / np.linalg.norm(direction, axis=0)
    assert (IMPLICIT[shape](direction) > 0).all()


@pytest.mark.parametrize("tilt", ["axis towards the camera", "axis across the picture"])
@pytest.mark.parametrize("shape", SHAPES)
def test_exact_axis_poses_are_hit_without_a_warning(shape: str, tilt: str) -> None:
    upright = np.eye(3, dtype=np.float32)
    turned = (
        upright if tilt == "axis across the picture" else upright[[0, 2, 1]] * np.array([[1], [-1], [1]], np.float32)
    )
    scenes = replace(_posed(shape), rotation=np.broadcast_to(turned, (POSES, 1, 3, 3)))
    with np.errstate(all="raise"):
        depth = _depths(visible_hits(scenes, SIZE))
    expected, deepest = _march(scenes, shape)
    clear = np.abs(deepest) > 0.02
    np.testing.assert_array_equal(np.isfinite(depth)[clear], np.isfinite(expected)[clear])
    both = clear & np.isfinite(expected)
    np.testing.assert_allclose(depth[both], expected[both], atol=5e-3)


def test_sphere_has_a_round_silhouette_and_radial_normals() -> None:
    scenes = replace(_posed("sphere"), position=np.zeros((POSES, 1, 3), np.float32))
    world = render(scenes, size=64)
    grid = pixel_centres(64).astype(np.float64)
    x, y = np.meshgrid(grid, -grid)
    for picture in range(POSES):
        radius = float(scenes.size[picture, 0])
        off_centre = np.hypot(x, y)
        clear = np.abs(off_centre - radius) > 1e-5
        disc = off_centre < radius
        np.testing.assert_array_equal((world.instances[picture] == 1)[clear], disc[clear])
        inner = off_centre < radius - 1e-3
        z = np.sqrt(radius**2 - off_centre[inner] ** 2)
        expected = np.stack([x[inner], y[inner], z], axis=-1) / radius
        np.testing.assert_allclose(world.normals[picture][inner], expected, atol=1e-3)


def test_the_nearer_of_two_solids_wins() -> None:
    scenes = sample_scenes(6, kind="scatter", seed=0)[[0, 1]]
    shape = np.full_like(scenes.shape, -1)
    shape[:, [1, 4]] = SHAPES.index("sphere")
    position = np.zeros_like(scenes.position)
    position[0, 1, 2], position[1, 4, 2] = 2.0, 2.0
    size = np.full_like(scenes.size, 0.5)
    world = render(replace(scenes, shape=shape, position=position, size=size), size=32)
    assert set(np.unique(world.instances[0])) == {0, 2}
    assert set(np.unique(world.instances[1])) == {0, 5}
    assert np.isnan(world.boxes[0, 4]).all()
    assert not np.isnan(world.boxes[1, 4]).any()
