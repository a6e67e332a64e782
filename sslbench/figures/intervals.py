"""Every task's main scores with their intervals, the level of guessing, and controls in grey."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslbench.analyses.sheet import Cell, Item
from sslbench.figures.axes import point
from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.labels import drawable, labels, shortened, widest
from sslbench.figures.page import Margins, page, panel_title
from sslbench.figures.style import BLACK, GREY, Mark, marks
from sslbench.metrics.score import Z95
from sslbench.protocols import measures_transfer
from sslbench.results.marks import guess

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.125
"""Inches for each backbone."""
FEW = 2
"""Tasks of a setting that do not make a figure of their own."""


def draw(source: Source) -> Drawn | LeftOut:
    """A figure a setting, or a protocol where its settings have few tasks; a panel a task, a row a backbone."""
    items = [item for item in source.sheet.main_items if item.dataset != "*"]
    if not items:
        return LeftOut("there is no score of a single task")
    sizes = Counter(item.setting for item in items)
    parts: dict[str, list[Item]] = {}
    for item in items:
        parts.setdefault(item.setting if sizes[item.setting] > FEW else item.protocol, []).append(item)
    return {
        part: interval_figure(source, found, title=f"{drawable(part)}: {source.sheet.title}")
        for part, found in parts.items()
    }


def interval_figure(source: Source, items: Sequence[Item], *, title: str, columns: int = 5) -> Figure:
    """The scores of some items side by side: a panel each, in which the backbones have the same order.

    They are sorted by their mean place over the items, the best on top, and controls below. Lines are 95 % intervals, where a
    score has one.
    """
    names = ordered(source, items)
    shown, looks = labels(names), marks(source.sheet.backbones)
    left = widest(shown.values()) + 0.15
    dashed = any(_guess(source, item) is not None for item in items)
    note = (
        "Lines: 95 % intervals, where known. " + ("Dashed: what a guess scores. " if dashed else "") + "Grey: controls."
    )
    columns = min(columns, len(items))
    same = len({item.variant for item in items}) == 1
    mixed = len({item.protocol for item in items}) > 1
    figure, axes = page(
        len(items),
        columns=columns,
        height=ROW * (len(names) + 0.5),
        margins=Margins(left=0.1, right=0.1, bottom=0.4),
        outer_left=left,
        title=title,
        note=note,
    )
    for number, (panel, item) in enumerate(zip(axes, items, strict=True)):
        _panel(panel, source, item, names, looks)
        named = item.task if mixed else item.dataset + (f", {item.variant}" if item.variant and not same else "")
        panel_title(panel, named)
        panel.set_yticks(range(len(names)), [shown[name] for name in names] if number % columns == 0 else [])
        panel.tick_params(axis="y", length=0)
    return figure


def ordered(source: Source, items: Sequence[Item]) -> list[str]:
    """Backbones that have one of the items, by their mean place among those that have it; controls last."""
    places: dict[str, list[float]] = {}
    for item in items:
        column = source.sheet.column(item)
        best = sorted(column, key=lambda name: column[name].value, reverse=item.higher_is_better)
        for place, name in enumerate(best):
            # Not every backbone has every task: a place counts as a part of those that have it.
            places.setdefault(name, []).append(place / max(1, len(best) - 1))
    names = [name for name in source.sheet.backbones if name in places]
    trained = set(source.sheet.trained)
    return sorted(names, key=lambda name: (name not in trained, sum(places[name]) / len(places[name])))


def interval(cell: Cell, item: Item) -> tuple[float, float] | None:
    """The 95 % interval of a score in its item's unit: the record's own, or 1.96 standard errors of a published one."""
    if cell.record is not None:
        low, high = (math.nan if end is None else float(end) for end in cell.record.scores[item.score]["ci95"])
        return (low, high) if math.isfinite(low) and math.isfinite(high) else None
    return None if cell.stderr is None else (cell.value - Z95 * cell.stderr, cell.value + Z95 * cell.stderr)


def _panel(panel: Axes, source: Source, item: Item, names: Sequence[str], looks: dict[str, Mark]) -> None:
    column = source.sheet.column(item)
    rows = {name: row for row, name in enumerate(names) if name in column}
    ends = {name: found for name in rows if (found := interval(column[name], item)) is not None}
    panel.hlines(
        [rows[name] for name in ends],
        [low for low, _ in ends.values()],
        [high for _, high in ends.values()],
        colors=[looks[name].colour for name in ends],
        linewidth=1.2,
        zorder=2,
    )
    for name, row in rows.items():
        point(panel, column[name].value, row, looks[name])
    if (level := _guess(source, item)) is not None:
        panel.axvline(level, color=BLACK, linewidth=0.7, dashes=(3, 2), zorder=1)
    trained = sum(name in source.sheet.trained for name in names)
    if 0 < trained < len(names):
        panel.axhline(trained - 0.5, color=GREY, linewidth=0.4, zorder=0)
    panel.margins(x=0.08)
    panel.autoscale_view(scaley=False)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.grid(axis="x", color="#e8e8e8", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.set_xlabel(scale_text(item), labelpad=1.5)
    panel.locator_params(axis="x", nbins=5)


def _guess(source: Source, item: Item) -> float | None:
    return guess(cell.record for cell in source.sheet.column(item).values() if cell.record is not None)


def scale_text(item: Item) -> str:
    """Score and unit for an axis, and which way it points where that is down."""
    name = "score" if item.score == "main" else drawable(item.score)
    unit = f" ({drawable(item.unit)})" if item.unit else ""
    down = measures_transfer(item.protocol) and not item.higher_is_better
    return f"{shortened(name, 20)}{unit}{', lower is better' if down else ''}"


FIGURE = FigureSpec(
    "intervals", "Every task's main score with its 95 % interval, the level of guessing, and controls in grey.", draw
)
