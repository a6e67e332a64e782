"""A page of panels with fixed distances in inches, a title above, and below it a legend and a note.

matplotlib's own layout engines measure every text of every panel again and again, which takes seconds for dozens of panels.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sslbench.figures.labels import drawable, fitted, text_width, widest
from sslbench.figures.style import SMALL, TEXT, WIDTH, Mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of a title, beside the size of text: smaller letters cannot be read in print.
SMALLEST = 0.75
LINE = 0.15
"""Height of a line of small text, in inches."""


@dataclass(frozen=True)
class Margins:
    """Inches around each panel: left and bottom for its labels, top for its title, right for what stands out."""

    left: float = 0.5
    bottom: float = 0.38
    top: float = 0.22
    right: float = 0.08


def page(
    count: int,
    *,
    columns: int,
    height: float,
    margins: Margins | None = None,
    title: str = "",
    note: str = "",
    legend: Mapping[str, Mark] | None = None,
    width: float = WIDTH,
    outer_left: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, row by row.

    height: of each panel's axes in inches, without margins. legend: marks by what is drawn beside them. outer_left: further
    inches on the left of the whole page, for labels that a row of panels shares.
    """
    from matplotlib.figure import Figure

    around = margins or Margins()
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    lines = textwrap.wrap(note, _letters(width, SMALL)) if note else []
    titles = textwrap.wrap(title, _letters(width, TEXT + 1)) if title else []
    head = 0.06 + 0.17 * len(titles)
    legend_columns, legend_height = _legend_size(list(legend or ()), width)
    foot = 0.06 + LINE * len(lines) + legend_height
    cell = around.top + height + around.bottom
    total = head + rows * cell + foot
    figure = Figure(figsize=(width, total))
    panel = (width - outer_left) / columns
    axes = []
    for index in range(count):
        row, column = divmod(index, columns)
        left = outer_left + column * panel + around.left
        bottom = total - head - row * cell - around.top - height
        across = panel - around.left - around.right
        axes.append(figure.add_axes((left / width, bottom / total, across / width, height / total)))
    if titles:
        figure.text(0.08 / width, 1 - 0.06 / total, "\n".join(titles), va="top", size=TEXT + 1, weight="bold")
    if lines:
        figure.text(0.08 / width, 0.06 / total, "\n".join(lines), va="bottom", size=SMALL)
    if legend:
        add_legend(figure, legend, legend_columns, bottom=(0.06 + LINE * len(lines)) / total)
    return figure, axes


def panel_title(panel: Axes, text: str, pad: float = 3.0) -> None:
    """A title at the panel's left, no wider than it: set smaller, and then cut, where it would be. pad: points above the axes."""
    room = panel_size(panel)[0]
    wanted = text_width(drawable(text), TEXT)
    size = TEXT * max(SMALLEST, min(1.0, room / wanted))
    panel.set_title(fitted(text, room, size), loc="left", pad=pad, fontsize=size)


def panel_size(panel: Axes) -> tuple[float, float]:
    """Width and height of its axes, in inches."""
    figure = panel.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    place = panel.get_position()
    return float(place.width * width), float(place.height * height)


def add_legend(figure: Figure, legend: Mapping[str, Mark], columns: int, bottom: float) -> None:
    """The marks with their names, centred at the foot. bottom: as a fraction of the figure's height."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=text, **mark.scatter) for text, mark in legend.items()]
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, bottom),
        ncols=columns,
        borderaxespad=0,
        borderpad=0.2,
        columnspacing=1.0,
        handletextpad=0.3,
        handlelength=1.2,
        labelspacing=0.35,
    )


def _legend_size(names: Sequence[str], width: float) -> tuple[int, float]:
    """Columns, and inches of height."""
    if not names:
        return 1, 0.0
    entry = widest(names) + 0.28
    columns = max(1, min(len(names), math.floor((width - 0.2) / entry)))
    return columns, math.ceil(len(names) / columns) * 0.128 + 0.1


def _letters(width: float, size: float) -> int:
    """How many letters of running text fit into a line."""
    sample = "the quick brown fox jumps over the lazy dog, 0123456789"
    return max(20, math.floor((width - 0.2) / text_width(sample, size) * len(sample) * 0.95))
