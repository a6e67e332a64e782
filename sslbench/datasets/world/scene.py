"""The parameters of a batch of pictures."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from sslbench.datasets.world.arrays import AnyArray, Floats, Ints


@dataclass(frozen=True)
class Scenes:
    """Everything that decides N pictures with K object slots each.

    Lengths are in camera units: the picture spans -1..1 in x (right) and y (up), z points at the camera.
    Attributes index ``SHAPES``, ``COLOURS`` and ``TEXTURES``; an empty slot has -1 in all three.

    Attributes:
        shape: (N, K) shape of each object, -1 for an empty slot.
        colour: (N, K) named colour of each object, -1 for an empty slot.
        texture: (N, K) texture of each object, -1 for an empty slot.
        position: (N, K, 3) object centre.
        size: (N, K) radius of a sphere of the same mean silhouette area.
        rotation: (N, K, 3, 3) takes object space to camera space.
        texture_frame: (N, K, 3, 3) takes object space to texture space.
        texture_offset: (N, K, 3) added in texture space, in pattern periods.
        contrast: (N, K) signed strength of the texture; the sign swaps the dark and the light parts.
        albedo: (N, K, 3) linear RGB in 0..1.
        light: (N, 3) unit vector towards the light.
        tint: (N, 3) RGB of the light.
        ambient: (N,) share of the light that reaches every side.
        background: (N,) index into ``BACKGROUNDS``.
        background_colours: (N, 2, 3) RGB of the two colours that the background mixes.
        background_contrast: (N,) how far the background goes from its first colour towards the second, in 0..1.
        background_waves: (N, 2, 3) radians per unit of x, radians per unit of y, and phase of two plane waves.
        background_lattice: (N, L, L) values that noise and blobs interpolate.
        grain: (N,) where the picture's sensor noise starts in the common noise table.
    """

    shape: Ints
    colour: Ints
    texture: Ints
    position: Floats
    size: Floats
    rotation: Floats
    texture_frame: Floats
    texture_offset: Floats
    contrast: Floats
    albedo: Floats
    light: Floats
    tint: Floats
    ambient: Floats
    background: Ints
    background_colours: Floats
    background_contrast: Floats
    background_waves: Floats
    background_lattice: Floats
    grain: Ints

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: slice | AnyArray | list[int]) -> Scenes:
        """The scenes chosen by a slice, an index array or a boolean mask.

        Raises:
            TypeError: for a single number, which would drop the batch axis.
        """
        if not isinstance(index, slice) and np.ndim(index) != 1:
            raise TypeError(f"scenes are indexed by a slice or a 1-D array, not by {index!r}")
        return Scenes(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @property
    def count(self) -> Ints:
        """(N,) number of objects in each picture."""
        objects: Ints = np.sum(self.shape >= 0, axis=1)
        return objects
