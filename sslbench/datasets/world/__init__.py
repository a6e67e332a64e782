"""The embedded world: procedurally rendered pictures of solids with exact annotations."""

from sslbench.datasets.world.render import Annotations, World, annotate, render
from sslbench.datasets.world.sampling import sample_scenes
from sslbench.datasets.world.scene import Scenes
from sslbench.datasets.world.vocabulary import COLOURS, RENDERER_VERSION, SHAPES, TEXTURES, Kind

__all__ = [
    "COLOURS", "RENDERER_VERSION", "SHAPES", "TEXTURES", "Annotations", "Kind", "Scenes", "World", "annotate", "render",
    "sample_scenes",
]  # fmt: skip
