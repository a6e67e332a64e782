"""Decoding of image files: every mode becomes 8-bit RGB, memory is bounded, and a bad file is named."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from sslbench.datasets.picture_warnings import attributed
from sslbench.errors import DataError, UnclearPixelsError

Prepare = Callable[[Image.Image], Image.Image]
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
# PIL's limit counts pixels; a row of 80 million would pass it and take gigabytes for the weights of a resize.
LONGEST_SIDE = 1 << 20
_TILE = (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)
# Formats whose mode "I" is 16 bits on a scale of 65535: PGM, and PNG before Pillow 11.
_SIXTEEN_BITS = frozenset({"PPM", "PNG"})
# What rounding in float32 may add to 0 and 1.
_ROUNDING = 1e-6
# What PIL's decoders raise for damaged files, and its warnings where this run makes them errors.
DAMAGE = (
    OSError, UnidentifiedImageError, SyntaxError, ValueError, TypeError, IndexError, KeyError, RuntimeError, EOFError,
    struct.error, zlib.error, Image.DecompressionBombError, Warning,
)  # fmt: skip


def to_rgb(image: Image.Image, stored_as: str | None = None) -> Image.Image:
    """Convert any PIL image to RGB.

    Greyscale, CMYK, palette and alpha modes follow PIL's `convert("RGB")` (what torchvision's default loader does).
    16-bit greyscale is scaled to 8 bits first, since PIL would clip it at 255. Floats are taken as black to white from 0 to 1,
    32-bit integers as 0 to 255.

    stored_as: PIL's name of the file's format, which tells more of the depth than the mode.

    Raises:
        UnclearPixelsError: floats or 32-bit integers outside of that. A scale made from a picture's own extremes would depend on
            what it shows, and any other could only be guessed.
    """
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image, stored_as)
    return image.convert("RGB")


def _eight_bits(image: Image.Image, stored_as: str | None) -> Image.Image:
    values = np.asarray(image, dtype=np.float64)
    # By the depth of the file, so that a dark 16-bit picture stays dark.
    if image.mode.startswith("I;16") or (image.mode == "I" and stored_as in _SIXTEEN_BITS):
        values = values / 257.0
    else:
        kind, white, margin = ("floats", 1, _ROUNDING) if image.mode == "F" else ("integers", 255, 0)
        bad = int(values.size - np.isfinite(values).sum())
        if bad:
            raise UnclearPixelsError(f"{bad} of its {values.size} pixels are NaN or infinite")
        low, high = float(values.min()), float(values.max())
        if low < -margin or high > white + margin:
            raise UnclearPixelsError(
                f"its 32-bit {kind} run from {low:g} to {high:g}, and only from 0 (black) to {white} (white) do they say how "
                "bright a pixel is"
            )
        values = values * (255 / white)
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def read_image(path: Path, prepare: Prepare | None = None) -> Image.Image:
    """Decode one file to RGB, the first picture where it holds several.

    prepare: what happens to the picture in the file's own mode, before it becomes RGB.

    Raises:
        DataError: the file is missing, truncated, no image or too large, or PIL warns of it where warnings are errors.
        UnclearPixelsError: as for `to_rgb`.
    """
    try:
        with attributed(path), Image.open(path) as image:
            _check_size(image)
            image.load()
            return to_rgb(prepare(image) if prepare else image, image.format)
    except UnclearPixelsError as error:
        raise UnclearPixelsError(
            f"cannot tell the brightness in the image {path}: {error}. Save the pictures with 8 or 16 bits, or as floats scaled "
            "to 0..1 by one rule for all of them; --sslbench-bad-images skip does not leave such pictures out"
        ) from error
    except DAMAGE as error:
        raise DataError(
            f"cannot read the image {path}: {error}. Replace or remove the file, or count and leave out unreadable "
            "images with --sslbench-bad-images skip"
        ) from error


def read_or_skip(path: Path, bad_images: str, prepare: Prepare | None = None) -> Image.Image | None:
    """As `read_image`, but None for an unreadable file where `bad_images` is `skip`.

    Pixels without a known scale are not skipped: the next picture has most likely the same, and a dataset without them
    would be another one.
    """
    try:
        return read_image(path, prepare)
    except UnclearPixelsError:
        raise
    except DataError:
        if bad_images == "skip":
            return None
        raise


def _check_size(image: Image.Image) -> None:
    """ValueError for a picture that takes more memory than PIL allows before it warns."""
    width, height = image.size
    limit = Image.MAX_IMAGE_PIXELS
    # A tile of a TIFF is decoded whole, however small the picture.
    tags: Any = getattr(image, "tag_v2", {})
    tile_width, tile_height = (tags.get(tag) or 0 for tag in _TILE)
    for what, columns, rows in (("", width, height), ("tiles of ", tile_width, tile_height)):
        if limit is not None and columns * rows > limit:
            raise ValueError(
                f"its {what}{columns} x {rows} pixels are more than the {limit:,} of PIL.Image.MAX_IMAGE_PIXELS, which may be "
                "raised in a conftest.py"
            )
    if max(width, height) > LONGEST_SIDE:
        raise ValueError(f"of its {width} x {height} pixels one side is longer than {LONGEST_SIDE:,}")
