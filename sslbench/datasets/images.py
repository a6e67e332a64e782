"""Decoding of image files: every mode becomes 8-bit RGB, and a bad file is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sslbench.errors import DataError

Prepare = Callable[[Image.Image], Image.Image]
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any PIL image to RGB.

    Greyscale, CMYK, palette and alpha modes follow PIL's `convert("RGB")` (what torchvision's default loader does).
    16-bit greyscale is scaled to 8 bits first, since PIL would clip it at 255; so are 32-bit integers and floats with
    a value above 255.
    """
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        # By the mode where it tells the depth, so that a dark 16-bit picture stays dark.
        if image.mode.startswith("I;16") or values.max(initial=0.0) > 255:
            values = values / 257.0
        image = Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    return image.convert("RGB")


def read_image(path: Path, prepare: Prepare | None = None) -> Image.Image:
    """Decode one file to RGB; DataError names a file that is missing, truncated or no image.

    prepare: what happens to the picture in the file's own mode, before it becomes RGB.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return to_rgb(prepare(image) if prepare else image)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"cannot read the image {path}: {error}. Replace or remove the file, or count and leave out unreadable "
            "images with --sslbench-bad-images skip"
        ) from error


def read_or_skip(path: Path, bad_images: str, prepare: Prepare | None = None) -> Image.Image | None:
    """As `read_image`, but None for an unreadable file where `bad_images` is `skip`."""
    try:
        return read_image(path, prepare)
    except DataError:
        if bad_images == "skip":
            return None
        raise
