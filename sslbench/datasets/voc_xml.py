"""One annotation file of PASCAL VOC, read without trust."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from sslbench.errors import DataError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Annotated:
    """The objects of one picture, as written.

    corners: xmin, ymin, xmax, ymax in pixels that are counted from 1, xmax and ymax being the last ones inside; some have
    fractions. size: width and height of the picture; None where they are not given.
    """

    path: Path
    labels: tuple[str, ...]
    corners: tuple[tuple[float, ...], ...]
    difficult: tuple[bool, ...]
    size: tuple[int, int] | None = None


def edges(annotations: Sequence[Annotated]) -> npt.NDArray[np.float64]:
    """Boxes of all their objects: (M, 4) x1, y1, x2, y2 in pixels from the left upper corner, x2 and y2 exclusive.

    That is xmin - 1, ymin - 1, xmax, ymax, as detectron2 has them.
    """
    corners = [corners for annotation in annotations for corners in annotation.corners]
    return np.array(corners, dtype=np.float64).reshape(-1, 4) - [1, 1, 0, 0]


def read_annotation(path: Path) -> Annotated:
    """The `<object>` elements of a file; parts of objects, which some have, are left out.

    Raises DataError that names file and object for what is no XML of an `<annotation>`, defines entities, or lacks a name or a
    number.
    """
    root = _parse(path)
    labels, corners, difficult = list[str](), list[tuple[float, ...]](), list[bool]()
    for number, element in enumerate(root.iterfind("object"), 1):
        inner = _children(element)
        label = _text(inner, "name")
        if not label:
            raise DataError(f"{path}: object {number}: expected a <name>; correct the file")
        box = _children(inner.get("bndbox"))
        texts = [_text(box, corner) for corner in _CORNERS]
        try:
            numbers = tuple(map(float, texts))
        except ValueError:
            numbers = (math.nan,)
        if not all(map(math.isfinite, numbers)):
            raise DataError(
                f"{path}: object {number} ({label}): expected numbers in <bndbox> for {', '.join(_CORNERS)}, got {texts}; "
                "correct the file"
            )
        mark = _text(inner, "difficult") or "0"
        if mark not in ("0", "1"):
            raise DataError(
                f"{path}: object {number} ({label}): expected 0 or 1 as <difficult>, got {mark!r}; correct the file"
            )
        labels.append(label)
        corners.append(numbers)
        difficult.append(mark == "1")
    sides = _children(root.find("size"))
    # Some tools write 0 where they do not know.
    width, height = (int(side) if side.isdecimal() else 0 for side in (_text(sides, "width"), _text(sides, "height")))
    size = (width, height) if width and height else None
    return Annotated(path, tuple(labels), tuple(corners), tuple(difficult), size)


def _parse(path: Path) -> ElementTree.Element:
    try:
        # Unbuffered: a challenge has more than 20,000 small files, and opening them is a third of the time.
        with path.open("rb", buffering=0) as file:
            content = file.readall()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; make it readable or remove it") from error
    # Without a DTD there are no entities, which could take all memory or name other files. Zeros, as in UTF-16, hide nothing.
    plain = content.replace(b"\0", b"").upper()
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise DataError(f"{path}: a DTD or an entity, which no annotation needs and which is not read; remove it")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"cannot read {path}: {error}; expected the XML of PASCAL VOC") from error
    if root.tag != "annotation":
        # Another file's elements would be none of ours, and its picture would count as one without objects.
        raise DataError(f"{path}: expected the XML of PASCAL VOC, an <annotation>, got <{root.tag}>; correct the file")
    return root


def _children(element: ElementTree.Element | None) -> dict[str, ElementTree.Element]:
    """The first child of each name. One pass is twice as fast as a search for each."""
    return {} if element is None else {child.tag: child for child in reversed(element)}


def _text(children: dict[str, ElementTree.Element], name: str) -> str:
    child = children.get(name)
    return (child.text or "").strip() if child is not None else ""
