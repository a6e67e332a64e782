"""Colour JPEG straight into a tensor: the same pixels as PIL's, from the same library, without PIL's copies."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

_START = b"\xff\xd8\xff"
# ITU-T T.81, table B.1: start of frame, but for DHT (C4), JPG (C8) and DAC (CC), which lie between; arithmetic coding and
# lossless frames are left to PIL.
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
# torchvision.io.ImageReadMode.RGB.
_RGB = 3
# Read into memory whole, so that what is larger is left to PIL, which reads as it decodes.
MOST_BYTES = 1 << 29
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


@cache
def decoder() -> Callable[[Tensor, int], Tensor] | None:
    """torchvision's, or None where it was built without one or has none any more."""
    import torch

    try:
        import torchvision.io  # noqa: F401
    except ImportError:
        return None
    # Not through torchvision.io.decode_jpeg, which warns since 0.29 that it will move to another package.
    found: Callable[[Tensor, int], Tensor] | None = getattr(torch.ops.image, "decode_jpeg", None)
    return found


def decode_colour_jpeg(path: Path) -> Tensor | None:
    """uint8 (3, h, w), or None for anything that PIL has to decide.

    That is what is no JPEG, is grey, CMYK or too large for PIL, cannot be decoded, or is not there: PIL's path tells what
    is wrong. Orientation tags are ignored, as PIL does.
    """
    import torch

    decode = decoder()
    if decode is None:
        return None
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    size = colour_size(content)
    limit = Image.MAX_IMAGE_PIXELS
    if size is None or (limit is not None and size[0] * size[1] > limit):
        return None
    try:
        picture: Tensor = decode(torch.frombuffer(bytearray(content), dtype=torch.uint8), _RGB)
    except RuntimeError:
        return None
    return picture


def colour_size(content: bytes) -> tuple[int, int] | None:
    """(width, height) of a JPEG with three 8-bit components, else None."""
    if not content.startswith(_START):
        return None
    position = 2
    while position + 10 <= len(content):
        if content[position] != 0xFF:
            return None
        marker = content[position + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            # Fill bytes may stand before a marker.
            position += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAMES:
            precision, components = content[position + 4], content[position + 9]
            height = int.from_bytes(content[position + 5 : position + 7], "big")
            width = int.from_bytes(content[position + 7 : position + 9], "big")
            return (width, height) if (precision, components) == (8, 3) and width and height else None
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return None
