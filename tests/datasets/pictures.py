"""Folders of small pictures, each with a colour of its own."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from PIL import Image

_NUMBERS = count(1)


def picture(path: Path, format: str | None = None) -> None:
    """A 6 x 6 picture that no other call makes."""
    number = next(_NUMBERS)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 6), (37 * number % 256, 101 * number % 256, number // 256 % 256)).save(path, format or "PNG")


def pictures(root: Path, *folders: str, number: int = 5) -> Path:
    """Some pictures in each of the folders; returns the root."""
    for folder in folders:
        for index in range(number):
            picture(root / folder / f"{index}.png")
    return root
