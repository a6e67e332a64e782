"""Reliability diagrams: how often a classifier is right where it says how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslbench.figures.declaration import Drawn, FigureSpec, LeftOut, Source
from sslbench.figures.labels import labels
from sslbench.figures.page import Margins, page, panel_title
from sslbench.figures.style import BLACK, BLUE, GREY, ORANGE, SMALL
from sslbench.results.record import Record
from sslbench.results.samples import read_arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 30
"""Backbones of a task."""
_WIDTH = 1 / 15


def draw(source: Source) -> Drawn | LeftOut:
    """A figure a task, a panel a backbone. Raises RecordError where samples are missing or damaged."""
    if source.folder is None:
        return LeftOut(
            "it needs the samples beside a run's records, which neither a baseline nor published tables have"
        )
    drawn = {}
    for task in dict.fromkeys(record.task["id"] for record in source.records):
        tables = _tables([record for record in source.records if record.task["id"] == task], source.folder)
        if tables:
            drawn[task] = _figure(task, tables, source)
    return drawn or LeftOut(
        "no record's samples have a reliability table; recognition with one class a picture leaves one"
    )


def reads(record: Record) -> bool:
    """Whether a record may have a table: other scores have no confidences, and their samples may be large."""
    return record.samples is not None and "ece" in record.scores


def _tables(records: Sequence[Record], folder: Path) -> dict[str, tuple[Record, NDArray[np.float64]]]:
    """By backbone the record and its table (15, 4): lower edge, pictures, mean confidence, accuracy."""
    found = {}
    for record in records:
        if reads(record):
            arrays: dict[str, NDArray[Any]] = read_arrays(record, folder)[0]
            if "reliability" in arrays:
                found[record.backbone["name"]] = record, arrays["reliability"]
    return found


def _figure(task: str, tables: dict[str, tuple[Record, NDArray[np.float64]]], source: Source) -> Any:
    names = [name for name in source.sheet.backbones if name in tables][:MOST]
    few = f" The first {MOST} of {len(tables)} backbones." if len(tables) > MOST else ""
    shown = labels(names)
    figure, axes = page(
        len(names),
        columns=5,
        height=0.95,
        margins=Margins(left=0.36, right=0.1, bottom=0.36, top=0.32),
        title=f"Reliability, {task}: {source.sheet.title}",
        note="Bars: accuracy of the pictures in 15 bins of confidence, points: at their mean confidence; orange line: their "
        f"share of all pictures; diagonal: perfectly calibrated.{few}",
    )
    for number, (panel, name) in enumerate(zip(axes, names, strict=True)):
        record, table = tables[name]
        panel_title(panel, shown[name], pad=10)
        _diagram(panel, table)
        panel.text(0, 1.03, f"ECE {record.scores['ece']['value']:.1f} %", size=SMALL, transform=panel.transAxes)
        if number % 5 == 0:
            panel.set_ylabel("accuracy", labelpad=1)
    return figure


def _diagram(panel: Axes, table: NDArray[np.float64]) -> None:
    edges, counts, confidence, accuracy = table.T
    middle = edges + _WIDTH / 2
    filled = counts > 0
    panel.stairs(counts / max(1.0, counts.sum()), [*edges, 1.0], color=ORANGE, linewidth=1.0, zorder=5)
    panel.bar(middle[filled], accuracy[filled], width=0.8 * _WIDTH, color=BLUE, alpha=0.75, linewidth=0, zorder=2)
    panel.plot([0, 1], [0, 1], color=BLACK, linewidth=0.6, dashes=(3, 2), zorder=3)
    # What the bar should reach: not the middle of a bin but the mean confidence in it.
    panel.plot(
        confidence[filled], accuracy[filled], linestyle="none", marker=".", markersize=2.5, color=BLACK, zorder=4
    )
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1.02)
    for axis in (panel.set_xticks, panel.set_yticks):
        axis([0, 0.5, 1], ["0", "0.5", "1"])
    panel.set_xlabel("confidence", labelpad=1)
    panel.spines["left"].set_edgecolor(GREY)


FIGURE = FigureSpec(
    "reliability",
    "How often a classifier is right, by how sure it is: a figure a task, from the samples of a run.",
    draw,
    reads=reads,
)
