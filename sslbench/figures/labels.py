"""Names as text that can be drawn: in letters that the font has, no longer than there is room, and each still one of its own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from sslbench.figures.style import SMALL
from sslbench.names import printable

LONGEST = 34
"""Letters of a name in a figure; what is longer loses its middle."""


@cache
def _letters() -> frozenset[int]:
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())


def drawable(text: str) -> str:
    """Text in letters that the font has: others are written by their number, such as `\\u4e2d`, and a line break is a blank."""
    shown = " ".join(printable(text).split())
    known = _letters()
    return "".join(
        letter if ord(letter) in known else letter.encode("ascii", "backslashreplace").decode() for letter in shown
    )


def labels(names: Iterable[str], longest: int = LONGEST) -> dict[str, str]:
    """What is drawn for each name; where two long ones would look alike, a number tells them apart."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        short = shortened(drawable(name), longest)
        label, number = short, 2
        while label in taken:
            end = f" ({number})"
            label, number = shortened(short, longest - len(end)) + end, number + 1
        taken.add(label)
        found[name] = label
    return found


def shortened(text: str, longest: int) -> str:
    """Text without its middle where it is longer."""
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def fitted(text: str, width: float, size: float = SMALL) -> str:
    """Text that can be drawn and is no wider than `width` inches; what is longer loses its middle."""
    shown = drawable(text)
    if text_width(shown, size) <= width:
        return shown
    lengths = range(len(shown) - 1, 0, -1)
    return next((short for n in lengths if text_width(short := shortened(shown, n), size) <= width), "…")


@cache
def text_width(text: str, size: float = SMALL) -> float:
    """How wide a line is, in inches. size: of the text in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    # From its start to its rightmost control point: exact extents of the curves take ten times as long.
    path = TextPath((0, 0), text or " ", size=size, prop=FontProperties(family="DejaVu Sans"))
    return float(path.vertices[:, 0].max()) / 72 if len(path.vertices) else 0.0


def widest(texts: Iterable[str], size: float = SMALL) -> float:
    """The width of the widest of some lines, in inches; 0 without any."""
    return max((text_width(text, size) for text in texts), default=0.0)
