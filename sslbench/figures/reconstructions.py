"""Pictures as features remember them: the study's figure 8."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.picture_grid import grid_figures


def draw(source: Source) -> Drawn | LeftOut:
    """Originals beside every backbone's reconstructions."""
    return grid_figures(
        source,
        "inversion",
        "reconstructions",
        _as_it_is,
        title="Reconstructions",
        note="What can be made again of a picture from a backbone's features alone. Left: data set and row of its test split.",
    )


def _as_it_is(_: NDArray[Any], reconstruction: NDArray[Any]) -> NDArray[Any]:
    return reconstruction


FIGURE = FigureSpec(
    "reconstructions",
    "Test pictures beside what each backbone's features keep of them.",
    draw,
    study="8",
    reads=lambda record: record.task["protocol"] == "inversion",
)
