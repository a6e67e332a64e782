"""The names of the embedded world's attributes; a label is an index into one of these tuples."""

from __future__ import annotations

from typing import Literal

Kind = Literal["single", "scatter", "objects"]

# Bumped with every change to a pixel or to a draw: results measured on two versions are not comparable.
RENDERER_VERSION: str = "1"

SHAPES: tuple[str, ...] = ("sphere", "cube", "cylinder", "cone", "torus", "capsule", "tetrahedron", "octahedron")
COLOURS: tuple[str, ...] = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
TEXTURES: tuple[str, ...] = ("plain", "stripes", "checks", "dots", "rings", "noise", "bricks", "zigzag")
BACKGROUNDS: tuple[str, ...] = ("gradient", "noise", "blobs", "stripes", "plaid")
KINDS: tuple[Kind, ...] = ("single", "scatter", "objects")
MAX_OBJECTS: int = 6
