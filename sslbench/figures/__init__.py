"""Figures of a sheet of scores, drawn with matplotlib (extra `figures`).

A module of this package that declares a `FIGURE` is one kind; `write_figures` draws and writes them. Nothing here loads
matplotlib before a figure is drawn.
"""

from __future__ import annotations

from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.registry import Registry, declared

__all__ = ["FIGURES", "Drawn", "FigureSpec", "LeftOut", "Source"]

FIGURES: Registry[FigureSpec] = Registry("figure")
"""By name."""

for _figure in declared(__name__, __path__, "FIGURE"):
    FIGURES.add(_figure.name, _figure)
