"""A radar of ranks for each backbone: the study's figure 7."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sslbench.analyses import Item, Sheet
from sslbench.analyses.correlation import average_ranks
from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.labels import labels
from sslbench.figures.page import Margins, page, panel_title
from sslbench.figures.settings import figure_settings
from sslbench.figures.style import BLACK, SMALL, Mark, marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST, MOST = 3, 30
"""Axes that make an area, and backbones that are drawn."""
INSTEAD = {"detection": "AP50"}
"""As in the study; of normals its radar has the mean error, unlike its figure 1."""


def draw(source: Source) -> Drawn | LeftOut:
    """A panel a backbone, controls left out; an axis for the upstream score and each setting."""
    sheet = source.sheet
    ranks = setting_ranks(sheet)
    names = [name for name in sheet.trained if sum(name in axis for axis in ranks.values()) >= FEWEST]
    if len(ranks) < FEWEST or len(names) < 2:
        return LeftOut(f"it takes {FEWEST} settings, and two backbones that have as many")
    best = sorted(names, key=lambda name: np.mean([axis[name] / len(axis) for axis in ranks.values() if name in axis]))
    few = f" The best {MOST} of {len(names)} backbones." if len(names) > MOST else ""
    looks, shown = marks(sheet.backbones), labels(best)
    figure, axes = page(
        min(len(best), MOST),
        columns=5,
        height=1.05,
        margins=Margins(left=0.18, right=0.18, bottom=0.12, top=0.26),
        title=f"Ranks: {sheet.title}",
        note="The rim is the best rank, the centre the worst, over the backbones that have the setting. "
        + "; ".join(f"{number}: {name}" for number, name in enumerate(ranks, 1))
        + f". Rank of plain mean scores; a mark is missing where a backbone lacks a task.{few}",
    )
    for panel, name in zip(axes, best, strict=True):
        panel_title(panel, shown[name], pad=6)
        _radar(panel, [_radius(axis, name) for axis in ranks.values()], looks[name])
    return {"": figure}


def setting_ranks(sheet: Sheet) -> dict[str, dict[str, float]]:
    """By the name of an axis, the rank of each backbone that has all of its tasks; 1 the best, ties share the mean place.

    The upstream score comes first, where two backbones have one. Axes with fewer than two backbones are left out.
    """
    values: dict[str, dict[str, float]] = {}
    upstream = {name: sheet.upstream[name] for name in sheet.trained if name in sheet.upstream}
    if upstream:
        values[sheet.upstream_name] = upstream
    for name, items in figure_settings(sheet, INSTEAD).items():
        values[name] = mean_gains(sheet, items, sheet.trained)
    return {
        axis: dict(zip(column, average_ranks([-gain for gain in column.values()]).tolist(), strict=True))
        for axis, column in values.items()
        if len(column) > 1
    }


def mean_gains(sheet: Sheet, items: Sequence[Item], backbones: Sequence[str]) -> dict[str, float]:
    """The plain mean over the items of the backbones that have all of them, negative where lower is better."""
    columns = [(1.0 if item.higher_is_better else -1.0, sheet.column(item)) for item in items]
    return {
        name: math.fsum(sign * column[name].value for sign, column in columns) / len(columns)
        for name in backbones
        if all(name in column for _, column in columns)
    }


def _radius(axis: Mapping[str, float], name: str) -> float:
    """1 for the best, just above 0 for the worst; nan without a rank."""
    return (len(axis) - axis[name] + 1) / len(axis) if name in axis else math.nan


def _radar(panel: Axes, radii: Sequence[float], look: Mark) -> None:
    # Plain axes: matplotlib's polar ones take ten times as long.
    panel.set_aspect("equal")
    panel.set_axis_off()
    panel.set_xticks([])
    panel.set_yticks([])
    angles = [math.pi / 2 - 2 * math.pi * number / len(radii) for number in range(len(radii))]
    circle = np.linspace(0, 2 * math.pi, 73)
    for radius in (0.5, 1.0):
        panel.plot(radius * np.cos(circle), radius * np.sin(circle), color="#cccccc", linewidth=0.5, zorder=1)
    for number, angle in enumerate(angles, 1):
        panel.plot([0, math.cos(angle)], [0, math.sin(angle)], color="#e0e0e0", linewidth=0.5, zorder=1)
        panel.text(
            1.17 * math.cos(angle),
            1.17 * math.sin(angle),
            str(number),
            ha="center",
            va="center",
            size=SMALL,
            color=BLACK,
        )
    x = [radius * math.cos(angle) for radius, angle in zip(radii, angles, strict=True)]
    y = [radius * math.sin(angle) for radius, angle in zip(radii, angles, strict=True)]
    if not any(math.isnan(radius) for radius in radii):
        panel.fill(x, y, color=look.colour, alpha=0.25, linewidth=0, zorder=2)
    panel.plot([*x, x[0]], [*y, y[0]], color=look.colour, linewidth=1.0, zorder=3)
    panel.plot(x, y, linestyle="none", marker="o", markersize=2.2, color=look.colour, zorder=4)
    panel.set_xlim(-1.3, 1.3)
    panel.set_ylim(-1.3, 1.3)


FIGURE = FigureSpec(
    "ranks",
    "A radar for each backbone: its rank in the upstream score and in each setting, the best at the rim.",
    draw,
    study="7",
)
