"""Colour of the visible surface points: texture, then light."""

from __future__ import annotations

import numpy as np

from sslbench.datasets.world.arrays import Floats, Ints
from sslbench.datasets.world.raycast import Hits
from sslbench.datasets.world.scene import Scenes
from sslbench.datasets.world.textures import DENSITY, PATTERNS, SHIFT
from sslbench.datasets.world.vocabulary import TEXTURES

SPECULAR = np.float32(0.25)
EXPOSURE = np.float32(1.35)


def surface_colours(scenes: Scenes, hits: Hits) -> Floats:
    """(3, M) RGB of the hits, 1 being white; bright parts may exceed it."""
    picture = hits.owner // scenes.shape.shape[1]
    tone = 1 + scenes.contrast.ravel()[hits.owner] * _patterns(scenes, hits)
    light = scenes.light.T.take(picture, axis=1)
    facing = np.maximum(_dot(hits.normal, light), 0)
    ambient = scenes.ambient[picture]
    diffuse = EXPOSURE * (ambient + (1 - ambient) * facing)
    # Blinn's half vector between the light and the camera, which looks from (0, 0, 1) everywhere.
    half = scenes.light + np.array([0, 0, 1], np.float32)
    half /= np.sqrt(half[:, :1] ** 2 + half[:, 1:2] ** 2 + half[:, 2:] ** 2)
    glint = np.maximum(_dot(hits.normal, half.T.take(picture, axis=1)), 0)
    for _ in range(5):
        glint = glint * glint
    colour = scenes.albedo.reshape(-1, 3).T.take(hits.owner, axis=1) * (tone * diffuse) + SPECULAR * glint
    lit: Floats = colour * scenes.tint.T.take(picture, axis=1)
    return lit


def _dot(first: Floats, second: Floats) -> Floats:
    product: Floats = first[0] * second[0] + first[1] * second[1] + first[2] * second[2]
    return product


def _patterns(scenes: Scenes, hits: Hits) -> Floats:
    """(M,) value of each hit's texture."""
    values = np.empty(hits.owner.size, np.float32)
    texture = scenes.texture.ravel()[hits.owner]
    for index, name in enumerate(TEXTURES):
        members = np.flatnonzero(texture == index)
        owner = hits.owner[members]
        values[members] = PATTERNS[name](_texture_points(scenes, hits.point[:, members], owner, name))
    return values


def _texture_points(scenes: Scenes, point: Floats, owner: Ints, name: str) -> Floats:
    """(3, M) points in texture space, in periods of the pattern."""
    frame = scenes.texture_frame.reshape(-1, 9).T.take(owner, axis=1).reshape(3, 3, -1)
    shift = scenes.texture_offset.reshape(-1, 3).T.take(owner, axis=1)
    turned = frame[:, 0] * point[0] + frame[:, 1] * point[1] + frame[:, 2] * point[2]
    placed: Floats = turned * np.float32(DENSITY[name]) + shift * np.float32(SHIFT[name])
    return placed
