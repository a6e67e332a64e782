"""One annotation file of PASCAL VOC, read without trust."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from sslbench.errors import DataError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Annotated:
    """The objects of one picture, as written.

    corners: xmin, ymin, xmax, ymax in pixels that are counted from 1, xmax and ymax being the last ones inside. size: width and
    height of the picture; None where they are not given.
    """

    path: Path
    labels: tuple[str, ...]
    corners: tuple[tuple[float, ...], ...]
    difficult: tuple[bool, ...]
    size: tuple[int, int] | None = None


def read_annotation(path: Path) -> Annotated:
    """The `<object>` elements of a file; parts of objects, which some have, are left out.

    Raises DataError that names file and object for what is no XML, defines entities, or lacks a name or a number.
    """
    root = _parse(path)
    objects = root.findall("object")
    labels, corners, difficult = list[str](), list[tuple[float, ...]](), list[bool]()
    for number, element in enumerate(objects, 1):
        label = _text(element, "name")
        where = f"{path}: object {number}{f' ({label})' if label else ''}"
        if not label:
            raise DataError(f"{where}: expected a <name>; correct the file")
        texts = [_text(element, f"bndbox/{corner}") for corner in _CORNERS]
        try:
            numbers = tuple(map(float, texts))
        except ValueError:
            numbers = (math.nan,)
        if not all(map(math.isfinite, numbers)):
            raise DataError(
                f"{where}: expected numbers in <bndbox> for {', '.join(_CORNERS)}, got {texts}; correct the file"
            )
        mark = _text(element, "difficult") or "0"
        if mark not in ("0", "1"):
            raise DataError(f"{where}: expected 0 or 1 as <difficult>, got {mark!r}; correct the file")
        labels.append(label)
        corners.append(numbers)
        difficult.append(mark == "1")
    sides = [_text(root, f"size/{side}") for side in ("width", "height")]
    # Some tools write 0 where they do not know.
    width, height = (int(side) if side.isdecimal() else 0 for side in sides)
    size = (width, height) if width and height else None
    return Annotated(path, tuple(labels), tuple(corners), tuple(difficult), size)


def _parse(path: Path) -> ElementTree.Element:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; make it readable or remove it") from error
    # Without a DTD there are no entities, which could take all memory or name other files. Zeros, as in UTF-16, hide nothing.
    plain = content.replace(b"\0", b"").upper()
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise DataError(f"{path}: a DTD or an entity, which no annotation needs and which is not read; remove it")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"cannot read {path}: {error}; expected the XML of PASCAL VOC") from error


def _text(element: ElementTree.Element, place: str) -> str:
    return (element.findtext(place) or "").strip()
