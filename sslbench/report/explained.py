"""Reconstructions and attention maps beside their pictures, as a part of their case's section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.report.thumbnails import NO_ROOM, Thumbnails

SHOWN = 6
_RED = np.array([213.0, 94.0, 0.0])


def explained_part(arrays: Mapping[str, NDArray[Any]], thumbnails: Thumbnails) -> str:
    """The first pictures with what was made of them.

    arrays: pictures uint8 (N, H, W, 3), and reconstructions of their shape or attention float (N, H, W); where there are rows
    (N,), which say where in the split the pictures lie, captions name them. Nothing where neither is there. Raises ValueError
    for other shapes or types.
    """
    from PIL import Image

    pictures = arrays["pictures"]
    if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != np.uint8:
        raise ValueError(f"expected pictures uint8 (N, H, W, 3), got {pictures.dtype} {pictures.shape}")
    made: dict[str, NDArray[Any]] = {}
    if (reconstructions := arrays.get("reconstructions")) is not None:
        _check("reconstructions", reconstructions, pictures.shape)
        made["Reconstruction"] = reconstructions
    if (attention := arrays.get("attention")) is not None:
        _check("attention", attention, pictures.shape[:3])
        made["Attention"] = attention
    if (rows := arrays.get("rows")) is not None:
        _check("rows", rows, pictures.shape[:1])
    figures, full = [], False
    for place in range(min(SHOWN, len(pictures)) if made else 0):
        name = f"picture {place + 1}" if rows is None else f"picture in row {int(rows[place])}"
        images = [thumbnails.image(Image.fromarray(pictures[place]), name.capitalize())]
        for title, values in made.items():
            drawn = overlay(pictures[place], values[place]) if title == "Attention" else values[place]
            images.append(thumbnails.image(Image.fromarray(drawn), f"{title} of {name}"))
        if not all(images):
            full = True
            break
        frames = f'<div class="frames">{"".join(images)}</div>'
        caption = f"{name.capitalize()}<span>{', '.join(made).lower()} beside it</span>"
        figures.append(f"<figure>{frames}<figcaption>{caption}</figcaption></figure>")
    if not made:
        return ""
    shown = f'<div class="pictures">{"".join(figures)}</div>' if figures else ""
    return f"<h3>{' and '.join(made)}</h3>\n{shown}{f'<p>{NO_ROOM}</p>' if full else ''}"


def overlay(picture: NDArray[np.uint8], attention: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 (H, W, 3): the picture in grey, the redder the larger the attention (H, W) is between its own least and most."""
    grey = picture.astype(np.float64).mean(axis=2, keepdims=True).repeat(3, axis=2)
    known = np.nan_to_num(attention.astype(np.float64))
    span = known.max() - known.min()
    weight = 0.75 * ((known - known.min()) / span if span else np.zeros_like(known))[:, :, None]
    mixed: NDArray[np.uint8] = np.rint(grey * (1 - weight) + _RED * weight).astype(np.uint8)
    return mixed


def _check(name: str, values: NDArray[Any], shape: tuple[int, ...]) -> None:
    if values.shape != shape or (name == "reconstructions" and values.dtype != np.uint8):
        raise ValueError(f"expected {name} {shape} beside the pictures, got {values.dtype} {values.shape}")
