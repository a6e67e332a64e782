"""Calibration against the upstream score: the study's figure 3."""

from __future__ import annotations

from sslbench.analyses import Item, Sheet
from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.scatter import scatter_figure

SCORES = {"ece": "unscaled", "ece_scaled": "at fitted temperatures"}


def draw(source: Source) -> Drawn | LeftOut:
    """Two panels for each protocol that has the errors: before and after scaling by a temperature."""
    panels = {
        f"{protocol}, {told}": found
        for protocol in ("linear", "finetune", "knn")
        for score, told in SCORES.items()
        if (found := _items(source.sheet, protocol, score))
    }
    if not panels:
        return LeftOut("there is no expected calibration error of linear probes, fine-tuning or nearest neighbours")
    return scatter_figure(
        source, panels, title=f"Expected calibration error: {source.sheet.title}", columns=2, height=1.5
    )


def _items(sheet: Sheet, protocol: str, score: str) -> list[Item]:
    """The published mean over data sets where there is one, and otherwise every task's own."""
    items = list(sheet.of(protocol, score=score))
    return [item for item in items if item.dataset == "*"] or items


FIGURE = FigureSpec(
    "calibration",
    "The mean expected calibration error against the upstream score, before and after scaling by a temperature; lower is better.",
    draw,
    study="3",
)
