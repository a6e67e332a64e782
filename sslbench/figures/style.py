"""How all figures look: sizes, fonts, colours that every eye can tell apart, and a mark for each backbone.

The colours are those of Okabe and Ito, "Color Universal Design", 2008. Marks differ in shape as well, so that a print in grey
can be read. Text is drawn as outlines, so that a file looks the same wherever it is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sslbench.analyses.sheet import is_control

WIDTH = 7.2
"""Of a figure in inches: a page of two columns."""
TEXT, SMALL = 7.0, 6.0
"""Sizes of text in points."""

BLACK, GREY, PALE = "#222222", "#8c8c8c", "#dddddd"
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
COLOURS = (BLUE, VERMILION, GREEN, "#cc79a7", ORANGE, "#56b4e9", "#b8a800")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
CONTROL_SHAPES = ("x", "+", "1", "2", "3", "4")
STAR = "*"

_RC: Mapping[Any, Any] = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "font.family": ["DejaVu Sans"],
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "figure.titlesize": TEXT + 1,
    "axes.edgecolor": BLACK,
    "axes.labelcolor": BLACK,
    "text.color": BLACK,
    "xtick.color": BLACK,
    "ytick.color": BLACK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.0,
    "legend.frameon": False,
    # A name may hold a dollar sign, which would begin a formula.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.unicode_minus": True,
    "path.simplify": False,
    # Otherwise identifiers in a vector file are drawn at random.
    "svg.hashsalt": "sslbench",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw and write figures within it: whatever the user's own settings are, they neither matter nor change."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


@dataclass(frozen=True)
class Mark:
    """A backbone's point: shape (a matplotlib marker), colour, and whether it is filled."""

    shape: str
    colour: str
    filled: bool = True

    @property
    def scatter(self) -> dict[str, Any]:
        """Arguments of `Axes.plot` for points alone."""
        lines = self.shape in CONTROL_SHAPES
        return {
            "linestyle": "none",
            "marker": self.shape,
            "markersize": 7.5 if self.shape == STAR else 5.5 if lines else 4.5,
            "markerfacecolor": self.colour if self.filled else "white",
            "markeredgecolor": self.colour if lines or not self.filled else BLACK,
            "markeredgewidth": 1.1 if lines or not self.filled else 0.4,
        }


def is_supervised(backbone: str) -> bool:
    """Whether a backbone is known to have learned from labels: the study's and the zoo's `supervised`, and `wheel:` packages."""
    scheme, _, name = backbone.partition("?")[0].rpartition(":")
    return name == "supervised" or scheme == "wheel"


def marks(backbones: Iterable[str]) -> dict[str, Mark]:
    """A mark for each: grey crosses for controls, stars for supervised ones, other shapes for the rest.

    The first 77 that are neither have filled marks of their own, and the next 77 hollow ones.
    """
    found, trained, controls, stars = {}, 0, 0, 0
    for name in backbones:
        if is_control(name):
            found[name] = Mark(CONTROL_SHAPES[controls % len(CONTROL_SHAPES)], GREY)
            controls += 1
        elif is_supervised(name):
            found[name] = Mark(STAR, (BLACK, *COLOURS)[stars % (1 + len(COLOURS))])
            stars += 1
        else:
            shape, colour = SHAPES[trained % len(SHAPES)], COLOURS[trained % len(COLOURS)]
            found[name] = Mark(shape, colour, trained // (len(SHAPES) * len(COLOURS)) % 2 == 0)
            trained += 1
    return found
