"""What a gallery is made of, whatever it shows: pictures with marks, side by side over a caption, and the entries of a legend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

Place = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels as shown."""

GAP = 8
"""Pixels between the pictures of a panel."""


@dataclass(frozen=True)
class Mark:
    """A box. kind: a key of `sslbench.results.gallery_panel.COLOURS`. label: its short text, none for objects that were found.
    told: the whole of it.
    """

    kind: str
    box: Place
    label: str
    told: str
    chip: Place | None = None


@dataclass(frozen=True)
class Frame:
    """One picture. picture: RGB, as it is kept. size: width and height as shown. told: what is to be seen, in words. marks: in
    the order in which they are drawn. title: stands above it. exact: whether its colours are answers, which no compression may
    change.
    """

    picture: Image
    size: tuple[int, int]
    told: str
    marks: tuple[Mark, ...] = ()
    title: str = ""
    exact: bool = False

    @property
    def pixelated(self) -> bool:
        """Whether its pixels are to be seen as squares."""
        return self.size[0] >= 2 * self.picture.width


class Panel(Protocol):
    """Frames from left to right over a caption of two lines of plain ASCII text but for names."""

    @property
    def frames(self) -> tuple[Frame, ...]:
        """At least one."""

    @property
    def caption(self) -> tuple[str, str]:
        """Two lines."""


@dataclass(frozen=True)
class Entry:
    """A line of the legend. kind: of a mark that it explains; without one, colours: `#rrggbb` from left to right, stripes of two
    where `striped`.
    """

    text: str
    kind: str = ""
    colours: tuple[str, ...] = ()
    striped: bool = False


@dataclass(frozen=True)
class Shown:
    """What is shown of a record. worst, middle, best: panels. figure: what they were chosen by. lowest: whether the lowest is the
    worst. told: how they were chosen, in sentences.
    """

    figure: str
    lowest: bool
    worst: tuple[Panel, ...]
    best: tuple[Panel, ...]
    told: tuple[str, ...]
    legend: tuple[Entry, ...]
    middle: tuple[Panel, ...] = ()


Load = Callable[[int], "Image"]
"""From a row of the test split to its picture, RGB."""


def panel_width(panel: Panel) -> int:
    """Pixels of all its frames side by side."""
    frames = panel.frames
    return sum(frame.size[0] for frame in frames) + GAP * (len(frames) - 1)


def shown_sizes(width: int, height: int, side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of a picture as shown, the longer one of `side` pixels, and as kept, twice as large for dense screens.

    A small picture grows by a whole factor, so that its pixels stay equal.
    """
    longest = max(width, height)
    scale = side // longest if 2 * longest <= side else side / longest
    kept = min(1.0, 2 * side / longest)
    shown, stored = ([max(1, round(one * by)) for one in (width, height)] for by in (scale, kept))
    return (shown[0], shown[1]), (stored[0], stored[1])


def reduced(picture: Any, size: tuple[int, int]) -> Any:
    """The picture at the size as kept."""
    return picture.resize(size, reducing_gap=3.0) if size != picture.size else picture
