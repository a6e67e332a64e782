"""The embedded world: procedurally rendered pictures of solids with exact annotations."""

from sslbench.datasets.world.render import CAMERA_Z, Annotations, World, annotate, depth_maps, render
from sslbench.datasets.world.sampling import sample_scenes
from sslbench.datasets.world.scene import Scenes
from sslbench.datasets.world.vocabulary import COLOURS, RENDERER_VERSION, SHAPES, TEXTURES, Kind

__all__ = [
    "CAMERA_Z", "COLOURS", "RENDERER_VERSION", "SHAPES", "TEXTURES", "Annotations", "Kind", "Scenes", "World", "annotate",
    "depth_maps", "render", "sample_scenes",
]  # fmt: skip
