"""Scores against the number of parameters."""

from __future__ import annotations

from sslbench.figures.cost import cost_figure
from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source


def draw(source: Source) -> Drawn | LeftOut:
    """A panel a setting."""
    if not source.records:
        return LeftOut("published tables tell nothing of the number of parameters")
    found = {record.backbone["name"]: record.backbone.get("params") for record in source.records}
    costs = {name: float(count) for name, count in found.items() if count}
    without = sum(not count for count in found.values())
    told = f" {without} without parameters left out." if without else ""
    return cost_figure(
        source,
        costs,
        axis="parameters",
        text=count_text,
        title=f"Scores against size: {source.sheet.title}",
        note=f"Grey: controls. Axes of errors point down.{told}",
    )


def count_text(count: float) -> str:
    """Such as `300 k` or `25 M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:g} {letter}"
    return f"{count:g}"


FIGURE = FigureSpec("size", "Each setting's mean score against the number of parameters.", draw)
