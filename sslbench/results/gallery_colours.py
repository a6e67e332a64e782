"""Colours of maps: of classes, of directions, of distances, and of what does not count."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]

STRIPES = ((118, 118, 118), (178, 178, 178))
"""Of pixels that do not count: two greys, which no class has."""
_STRIPE = 4  # pixels

_COLOURS = 254
# Of Okabe and Ito (jfly.uni-koeln.de/color) without black, which are told apart with any colour vision.
_FIRST = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")

# From linear RGB to cone responses, and from their cube roots to lightness and two opponent colours (Ottosson, "A perceptual
# color space for image processing", 2020, bottosson.github.io/posts/oklab).
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OPPONENT = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)

# What linear RGB looks like without one kind of cones (Machado et al., "A Physiologically-based Model for Simulation of Color
# Vision Deficiency", 2009, table of severity 1.0): protanopia, deuteranopia, tritanopia.
_VISIONS = np.array(
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)

# Dark blue, a middle grey and light yellow, in lightness and opponent colours.
_RAMP = np.array([[0.30, 0.01, -0.13], [0.62, 0.0, 0.0], [0.94, -0.02, 0.13]])


@cache
def class_colours() -> RGB:
    """254 colours (254, 3), of which the class k has always number k modulo 254.

    The first seven are those of Okabe and Ito. Each further one is the farthest from all before it, from black, white and the
    greys of what does not count: for the eyes of those who can tell it least from another, with or without all cones.
    """
    steps = np.linspace(20, 245, 12)
    candidates = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3).round()
    places = seen(candidates)
    first = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in _FIRST]
    taken = seen(np.array([[0, 0, 0], [255, 255, 255], *STRIPES, *first], dtype=float))
    apart = np.min([differences(places, other[:, None]) for other in np.moveaxis(taken, 1, 0)], axis=0)
    colours = first
    while len(colours) < _COLOURS:
        best = int(apart.argmax())
        colours.append(candidates[best].astype(int).tolist())
        apart = np.minimum(apart, differences(places, places[:, best, None]))
    return np.array(colours, dtype=np.uint8)


def seen(colours: NDArray[Any]) -> NDArray[np.float64]:
    """Colours (N, 3) of 0 to 255 as they look to four kinds of eyes, in a space where distances are differences: (4, N, 3)."""
    linear = _linear(np.asarray(colours, dtype=np.float64) / 255)
    return _perceived(np.clip(linear @ _VISIONS.transpose(0, 2, 1), 0, 1))


def differences(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of colours (4, N, 3) as `seen`, how different they are for those who can tell them least (N,)."""
    least: NDArray[np.float64] = np.sqrt(((one - other) ** 2).sum(axis=-1)).min(axis=0)
    return least


def mask_picture(labels: NDArray[np.integer[Any]]) -> RGB:
    """Classes (H, W) as colours (H, W, 3)."""
    colours = class_colours()
    return colours[labels.astype(np.intp) % len(colours)]


def normal_picture(normals: NDArray[np.int8]) -> RGB:
    """Normals (H, W, 3) of 127 times the unit vector as colours: red to the right, green upwards, blue towards the camera."""
    return (normals.astype(np.int16) + 128).clip(0, 255).astype(np.uint8)


def ramp_picture(values: NDArray[np.floating[Any]], low: float, high: float) -> RGB:
    """Values (...) as colours (..., 3), light yellow at `low` and dark blue at `high`, in even steps of lightness."""
    span = high - low or 1.0
    at = 1 - np.clip((values.astype(np.float64) - low) / span, 0, 1)
    place = np.stack([np.interp(at, (0, 0.5, 1), column) for column in _RAMP.T], axis=-1)
    linear = (place @ np.linalg.inv(_OPPONENT).T) ** 3 @ np.linalg.inv(_CONES).T
    return np.rint(255 * _displayed(np.clip(linear, 0, 1))).astype(np.uint8)


def striped(picture: RGB, counted: NDArray[np.bool_]) -> RGB:
    """The picture with stripes where it does not count."""
    down, across = np.indices(counted.shape)
    stripes = np.array(STRIPES, dtype=np.uint8)[(down + across) // _STRIPE % 2]
    return np.where(counted[..., None], picture, stripes)


def as_hex(colour: Any) -> str:
    """`#rrggbb` of three numbers of 0 to 255."""
    return "#" + "".join(f"{int(part):02x}" for part in colour)


def _linear(displayed: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB's transfer function (IEC 61966-2-1)."""
    return np.where(displayed <= 0.04045, displayed / 12.92, ((displayed + 0.055) / 1.055) ** 2.4)


def _displayed(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _perceived(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    perceived: NDArray[np.float64] = np.cbrt(linear @ _CONES.T) @ _OPPONENT.T
    return perceived
