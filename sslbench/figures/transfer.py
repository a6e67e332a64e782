"""How well the upstream score tells a setting's scores: the study's figure 1."""

from __future__ import annotations

from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.scatter import scatter_figure
from sslbench.figures.settings import figure_settings

INSTEAD = {"detection": "AP50", "normals": "within_11.25"}
"""Scores that the study's figure shows where they are not the main ones."""


def draw(source: Source) -> Drawn | LeftOut:
    """A panel a setting."""
    return scatter_figure(
        source,
        figure_settings(source.sheet, INSTEAD),
        title=f"Transfer against the upstream score: {source.sheet.title}",
    )


FIGURE = FigureSpec(
    "transfer",
    "Each setting's mean score against the upstream score, with the line through the backbones and their correlation.",
    draw,
    study="1",
)
