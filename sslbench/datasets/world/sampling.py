"""Drawing the scenes of one kind."""

from __future__ import annotations

import numpy as np

from sslbench.datasets.world import palette, placement, pose
from sslbench.datasets.world.arrays import Floats, Ints
from sslbench.datasets.world.draws import Draws
from sslbench.datasets.world.scene import Scenes
from sslbench.datasets.world.vocabulary import BACKGROUNDS, COLOURS, KINDS, MAX_OBJECTS, SHAPES, TEXTURES, Kind

LATTICE = 12
GRAIN_STARTS = 1 << 16


def sample_scenes(n: int, *, kind: Kind, seed: int) -> Scenes:
    """Draw the parameters of ``n`` pictures; the first pictures of a longer draw are those of a shorter one.

    ``"single"`` has one object a picture with shape, colour and texture balanced each on its own. ``"objects"``
    balances the class ``shape * len(TEXTURES) + texture`` and leaves the colour free. ``"scatter"`` has 1 to 6
    objects with free attributes, balanced over their number (``Scenes.count``).

    Raises:
        ValueError: if ``n`` < 1, ``seed`` < 0 or ``kind`` is unknown.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known kinds: {', '.join(KINDS)}")
    draws = Draws(n, kind=kind, seed=seed)
    shape, colour, texture = _attributes(draws, kind)
    if kind == "scatter":
        position, size = placement.place_scatter(draws, np.sum(shape >= 0, axis=1))
    else:
        position, size = placement.place_single(draws)
    slots = shape.shape[1]
    rotation = pose.solid_rotations(draws, slots)
    sign = np.where(draws.uniform("contrast-sign", -1, 1, slots) < 0, -1, 1).astype(np.float32)
    return Scenes(
        shape=shape,
        colour=colour,
        texture=texture,
        position=position,
        size=size,
        rotation=rotation,
        texture_frame=pose.texture_frames(draws, slots, rotation),
        texture_offset=draws.uniform("texture-offset", 0, 1, slots, 3),
        contrast=sign * draws.uniform("contrast", 0.4, 0.55, slots),
        albedo=palette.jittered(draws, "albedo", colour, saturation=(0.7, 0.95), value=(0.5, 0.75)),
        light=pose.light_directions(draws),
        tint=draws.uniform("tint", 0.85, 1.1, 3),
        ambient=draws.uniform("ambient", 0.25, 0.4),
        background=draws.integers("background", len(BACKGROUNDS)),
        background_colours=palette.jittered(
            draws,
            "background",
            draws.integers("background-colour", len(COLOURS), 2),
            saturation=(0.5, 0.95),
            value=(0.25, 0.85),
        ),
        background_contrast=draws.uniform("background-contrast", 0.2, 0.7),
        background_waves=_waves(draws),
        background_lattice=draws.normal("lattice", LATTICE, LATTICE),
        grain=draws.integers("grain", GRAIN_STARTS),
    )


def _attributes(draws: Draws, kind: Kind) -> tuple[Ints, Ints, Ints]:
    """(n, K) shape, colour and texture."""
    if kind == "scatter":
        empty = np.arange(MAX_OBJECTS) > draws.balanced("count", MAX_OBJECTS)[:, None]
        shape, colour, texture = (
            np.where(empty, -1, draws.integers(name, len(names), MAX_OBJECTS))
            for name, names in (("shape", SHAPES), ("colour", COLOURS), ("texture", TEXTURES))
        )
        return shape, colour, texture
    if kind == "objects":
        shape, texture = np.divmod(draws.balanced("object", len(SHAPES) * len(TEXTURES)), len(TEXTURES))
        return shape[:, None], draws.integers("colour", len(COLOURS), 1), texture[:, None]
    return (
        draws.balanced("shape", len(SHAPES))[:, None],
        draws.balanced("colour", len(COLOURS))[:, None],
        draws.balanced("texture", len(TEXTURES))[:, None],
    )


def _waves(draws: Draws) -> Floats:
    """(n, 2, 3) two crossing plane waves a picture: 2 to 8 cycles across it in any direction."""
    frequency = np.pi * draws.uniform("wave-frequency", 2, 8, 1)
    direction = draws.uniform("wave-direction", 0, 2 * np.pi, 1) + np.array([0, np.pi / 2], np.float32)
    phase = draws.uniform("wave-phase", 0, 2 * np.pi, 2)
    return np.stack([frequency * np.cos(direction), frequency * np.sin(direction), phase], axis=-1).astype(np.float32)
