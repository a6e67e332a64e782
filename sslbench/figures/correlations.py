"""How each task goes with the upstream score, in one number each: the study's figure 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sslbench.analyses import Item, Sheet
from sslbench.analyses.correlation import Coefficient, Correlation, correlate
from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.labels import drawable, shortened, widest
from sslbench.figures.page import Margins, page
from sslbench.figures.style import BLACK, BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 26
"""Bars of a panel, at most."""
_DECISIONS = ("linear", "finetune", "knn", "fewshot")


def draw(source: Source) -> Drawn | LeftOut:
    """Bars of r and rho, a pair for each task and score, in as many rows of panels as it takes."""
    sheet = source.sheet
    found = [(item, correlate(sheet, item)) for item in shown_items(sheet)]
    found = [(item, one) for item, one in found if not np.isnan(one.pearson.value)]
    if not found:
        return LeftOut("no score is of 3 backbones that have an upstream score and of which not all score the same")
    rows = -(-len(found) // ROW)
    each = -(-len(found) // rows)
    texts = {item: _name(item, sheet) for item, _ in found}
    figure, axes = page(
        rows,
        columns=1,
        height=1.1,
        margins=Margins(left=0.5, top=0.14, bottom=0.12 + widest(texts.values())),
        title=f"Correlation with the upstream score: {sheet.title}",
        note=_note([one for _, one in found], sheet),
    )
    for number, panel in enumerate(axes):
        part = found[number * each : (number + 1) * each]
        _bars(panel, [one for _, one in part])
        panel.set_xticks(range(len(part)), [texts[item] for item, _ in part], rotation=90)
        # Bars are as wide on a last row with fewer of them.
        panel.set_xlim(-0.6, each - 0.4)
    return {"": figure}


def shown_items(sheet: Sheet) -> list[Item]:
    """Main scores, and further ones where they are another view of the task, as of boxes, normals and reconstructions."""
    return [
        item for item in sheet.items if item.dataset != "*" and (item.main or item.protocol not in _DECISIONS)
    ] + [item for item in sheet.items if item.dataset == "*"]


def _bars(panel: Axes, found: Sequence[Correlation]) -> None:
    for shift, colour, kind in ((-0.2, BLUE, "pearson"), (0.2, ORANGE, "spearman")):
        coefficients: list[Coefficient] = [getattr(one, kind) for one in found]
        places = np.arange(len(found)) + shift
        panel.bar(places, [one.value for one in coefficients], width=0.38, color=colour, linewidth=0, zorder=2)
        for place, one in zip(places, coefficients, strict=True):
            if one.ci95 is not None:
                panel.plot([place, place], one.ci95, color=BLACK, linewidth=0.6, zorder=3)
    panel.axhline(0, color=BLACK, linewidth=0.6, zorder=3)
    panel.set_ylim(-1.02, 1.02)
    panel.set_yticks([-1, -0.5, 0, 0.5, 1], ["-1", "-0.5", "0", "0.5", "1"])
    panel.set_ylabel("correlation", labelpad=1.5)
    panel.grid(axis="y", color="#e8e8e8", linewidth=0.5)
    panel.tick_params(axis="x", length=0)
    panel.set_axisbelow(True)
    panel.spines["bottom"].set_edgecolor(GREY)


def _name(item: Item, sheet: Sheet) -> str:
    several = sum(other.task == item.task for other in shown_items(sheet)) > 1
    place = item.setting if item.dataset == "*" else item.task
    return shortened(drawable(f"{place} {item.score}" if several else place), 38)


def _note(found: Sequence[Correlation], sheet: Sheet) -> str:
    sizes = sorted({one.n for one in found})
    n = f"n = {sizes[0]}" if len(sizes) == 1 else f"n from {sizes[0]} to {sizes[-1]}"
    return (
        f"Blue: Pearson's r, orange: Spearman's rho, each with its 95 % interval where there is one; with {sheet.upstream_name}, {n} "
        "backbones. Percentages and LPIPS are taken as log-odds, a task's errors negated, so that up is better for all tasks; errors of "
        "calibration and of reconstructions as they are."
    )


FIGURE = FigureSpec(
    "correlations", "The correlation of each task and score with the upstream score: r and rho.", draw, study="2"
)

