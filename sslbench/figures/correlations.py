"""How each task goes with the upstream score, in one number each: the study's figure 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sslbench.analyses import Item, Sheet
from sslbench.analyses.correlation import Coefficient, Correlation, correlate
from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.labels import drawable, fitted, shortened, widest
from sslbench.figures.page import Margins, page, panel_size
from sslbench.figures.settings import chosen_shots
from sslbench.figures.style import BLACK, BLUE, GREY, ORANGE, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 24
"""Tasks of a panel, at most."""
LEAST = 3
"""Tasks that a setting has room for, even if it has fewer: its name must fit above."""
_DECISIONS = ("linear", "finetune", "knn", "fewshot")

Found = Sequence[tuple[str, Correlation]]
"""What stands below a pair of bars, and what they show."""


def draw(source: Source) -> Drawn | LeftOut:
    """Bars of r and rho, a pair for each task and score, setting by setting, in as many rows of panels as it takes."""
    sheet = source.sheet
    groups: dict[str, list[tuple[str, Correlation]]] = {}
    for item in shown_items(sheet):
        one = correlate(sheet, item)
        if not np.isnan(one.pearson.value):
            groups.setdefault(_group(item, sheet), []).append((_label(item), one))
    if not groups:
        return LeftOut("no score is of 3 backbones that have an upstream score and of which not all score the same")
    rows = packed({name: max(LEAST, len(found)) for name, found in groups.items()}, ROW)
    texts = [text for found in groups.values() for text, _ in found]
    figure, axes = page(
        len(rows),
        columns=1,
        height=0.95,
        margins=Margins(left=0.45, top=0.2, bottom=0.1 + widest(texts)),
        title=f"Correlation with the upstream score: {sheet.title}",
        note=_note([one for found in groups.values() for _, one in found], sheet),
    )
    for panel, parts in zip(axes, rows, strict=True):
        _row(panel, {name: groups[name][start:stop] for name, start, stop in parts})
    return {"": figure}


def shown_items(sheet: Sheet) -> list[Item]:
    """Main scores, and further ones where they are another view of the task, as of boxes, normals and reconstructions.

    Few-shot tasks are those of one count of shots. Published means over data sets, such as calibration errors, come last.
    """
    shots = chosen_shots(sheet)
    single = [
        item for item in sheet.items if item.dataset != "*" and (item.protocol != "fewshot" or item.variant == shots)
    ]
    means = [item for item in sheet.items if item.dataset == "*"]
    return [item for item in single if item.main or item.protocol not in _DECISIONS] + means


def packed(sizes: Mapping[str, int], most: int) -> list[list[tuple[str, int, int]]]:
    """Groups one after the other in rows of at most `most`, a group cut only where it is longer than a row.

    Each row has (group, start, stop) of what stands in it.
    """
    rows: list[list[tuple[str, int, int]]] = []
    room = 0
    for name, size in sizes.items():
        start = 0
        while start < size:
            if not rows or room < min(size - start, most):
                rows.append([])
                room = most
            stop = min(size, start + room)
            rows[-1].append((name, start, stop))
            room -= stop - start
            start = stop
    return rows


def _row(panel: Axes, groups: Mapping[str, Found]) -> None:
    first = 0
    ticks: list[tuple[int, str]] = []
    inches = panel_size(panel)[0] / (ROW + 0.2)
    for name, found in groups.items():
        places = np.arange(first, first + len(found))
        for shift, colour, kind in ((-0.2, BLUE, "pearson"), (0.2, ORANGE, "spearman")):
            coefficients: list[Coefficient] = [getattr(one, kind) for _, one in found]
            panel.bar(places + shift, [one.value for one in coefficients], width=0.38, color=colour, zorder=2)
            for place, one in zip(places + shift, coefficients, strict=True):
                if one.ci95 is not None:
                    panel.plot([place, place], one.ci95, color=BLACK, linewidth=0.6, zorder=3)
        if first:
            panel.axvline(first - 0.5, color=GREY, linewidth=0.5, zorder=1)
        room = max(LEAST, len(found))
        panel.text(first - 0.42, 1.1, fitted(name, inches * room * 0.95), size=SMALL, va="bottom", style="italic")
        ticks += [(place, text) for place, (text, _) in zip(places.tolist(), found, strict=True)]
        first += room
    panel.set_xticks([place for place, _ in ticks], [text for _, text in ticks], rotation=90)
    # As wide on a row with fewer of them.
    panel.set_xlim(-0.6, ROW - 0.4)
    panel.axhline(0, color=BLACK, linewidth=0.6, zorder=3)
    panel.set_ylim(-1.02, 1.02)
    panel.set_yticks([-1, -0.5, 0, 0.5, 1], ["-1", "-0.5", "0", "0.5", "1"])
    panel.set_ylabel("correlation", labelpad=1.5)
    panel.grid(axis="y", color="#e8e8e8", linewidth=0.5)
    panel.tick_params(axis="x", length=0)
    panel.set_axisbelow(True)
    panel.spines["bottom"].set_edgecolor(GREY)


def _group(item: Item, sheet: Sheet) -> str:
    if item.dataset == "*":
        return "means over data sets"
    alone = len({other.task for other in sheet.items if other.setting == item.setting}) == 1
    return item.setting if item.protocol in _DECISIONS or alone else item.task


def _label(item: Item) -> str:
    if item.dataset == "*":
        return shortened(drawable(f"{item.setting} {item.score}"), 34)
    return shortened(drawable(item.dataset if item.protocol in _DECISIONS else item.score), 24)


def _note(found: Sequence[Correlation], sheet: Sheet) -> str:
    sizes = sorted({one.n for one in found})
    n = f"n = {sizes[0]}" if len(sizes) == 1 else f"n from {sizes[0]} to {sizes[-1]}"
    return (
        f"Blue: Pearson's r, orange: Spearman's rho, each with its 95 % interval where there is one; with {sheet.upstream_name}, "
        f"{n} backbones. Percentages and LPIPS are taken as log-odds, a task's errors negated, so that up is better for all "
        "tasks; errors of calibration and of reconstructions as they are."
    )


FIGURE = FigureSpec(
    "correlations", "The correlation of each task and score with the upstream score: r and rho.", draw, study="2"
)
