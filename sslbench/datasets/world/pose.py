"""Orientation of solids, of their textures and of the light."""

from __future__ import annotations

import numpy as np

from sslbench.datasets.world.arrays import Floats
from sslbench.datasets.world.draws import Draws

# |z| of a solid's axis. Nearer 1 a cone or a cylinder is a disc, nearer 0 a torus is a capsule.
AXIS_TOWARDS_CAMERA = (0.42, 0.85)
# Textures are extruded along an axis at most this far from the line of sight, so that stripes
# seen along their normal do not pass for rings.
TEXTURE_TILT = 0.6


def _turn(angle: Floats, axis: int) -> Floats:
    """(..., 3, 3) rotation by ``angle`` radians about one coordinate axis."""
    turn = np.zeros((*angle.shape, 3, 3), np.float32)
    one, two = (axis + 1) % 3, (axis + 2) % 3
    turn[..., axis, axis] = 1
    turn[..., one, one] = turn[..., two, two] = np.cos(angle)
    turn[..., two, one] = np.sin(angle)
    turn[..., one, two] = -turn[..., two, one]
    return turn


def solid_rotations(draws: Draws, slots: int) -> Floats:
    """(n, slots, 3, 3) object space to camera space; the solid's axis is the second object axis."""
    towards = draws.uniform("axis-z", *AXIS_TOWARDS_CAMERA, slots)
    sign = np.where(draws.uniform("axis-sign", -1, 1, slots) < 0, -1, 1).astype(np.float32)
    spin = _turn(draws.uniform("spin", 0, 2 * np.pi, slots), 1)
    tilt = _turn(np.arcsin(sign * towards), 0)
    roll = _turn(draws.uniform("roll", 0, 2 * np.pi, slots), 2)
    rotation: Floats = np.matmul(roll, np.matmul(tilt, spin))
    return rotation


def texture_frames(draws: Draws, slots: int, rotation: Floats) -> Floats:
    """(n, slots, 3, 3) object space to texture space, whose third axis is the extrusion."""
    tilt = _turn(draws.uniform("texture-tilt", -TEXTURE_TILT, TEXTURE_TILT, slots), 0)
    lean = _turn(draws.uniform("texture-lean", -TEXTURE_TILT, TEXTURE_TILT, slots), 1)
    roll = _turn(draws.uniform("texture-roll", 0, 2 * np.pi, slots), 2)
    frame: Floats = np.matmul(roll, np.matmul(np.matmul(tilt, lean), rotation))
    return frame


def light_directions(draws: Draws) -> Floats:
    """(n, 3) unit vectors towards the light, from the camera's side of the picture."""
    z = draws.uniform("light-z", 0.45, 0.85)
    azimuth = draws.uniform("light-azimuth", 0, 2 * np.pi)
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(azimuth), across * np.sin(azimuth), z], axis=-1)
