"""A page of pictures: a row for each test picture, its original first and then what each backbone makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslbench.figures.declaration import Drawn, LeftOut, Source
from sslbench.figures.labels import fitted, labels
from sslbench.figures.page import Margins, page
from sslbench.figures.style import SMALL
from sslbench.results.samples import read_arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, ROWS = 14, 15
"""Backbones and pictures of a page: the study's."""
SIDE = 0.43
"""Of a picture, in inches."""

Paint = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""From a picture (H, W, 3) uint8 and what a backbone left of it to what is shown, (H, W, 3) uint8."""


@dataclass(frozen=True)
class Row:
    """One test picture. made: what is shown, by backbone."""

    dataset: str
    number: int
    picture: NDArray[np.uint8]
    made: Mapping[str, NDArray[Any]]


def grid_figures(source: Source, protocol: str, array: str, paint: Paint, *, title: str, note: str) -> Drawn | LeftOut:
    """Pages of at most 14 backbones, one for each setting and fourteen of them, of at most 15 pictures.

    One picture of each data set, or several where there are few data sets: the first ones that all backbones of a task have.
    array: the name of what is shown in the samples. Raises RecordError where samples are missing or damaged.
    """
    records = [record for record in source.records if record.task["protocol"] == protocol]
    if source.folder is None or not records:
        what = f"{protocol} needs the samples of a run, which " if records or source.records else ""
        return LeftOut(
            f"{what}neither a baseline nor published tables have"
            if what
            else f"published tables have no pictures of {protocol}"
        )
    settings: dict[str, list[str]] = {}
    for record in records:
        setting = "/".join(filter(None, (protocol, record.task["variant"])))
        if record.task["id"] not in settings.setdefault(setting, []):
            settings[setting].append(record.task["id"])
    drawn: dict[str, Figure] = {}
    for setting, tasks in settings.items():
        rows = [row for task in tasks[:ROWS] for row in _rows(source, task, array, paint, max(1, ROWS // len(tasks)))]
        names = [name for name in source.sheet.backbones if any(name in row.made for row in rows)]
        pages = range(0, len(names), COLUMNS)
        for number, start in enumerate(pages, 1):
            key = "-".join(filter(None, (setting if len(settings) > 1 else "", str(number) if len(pages) > 1 else "")))
            told = f"{title}, {setting}: {source.sheet.title}"
            drawn[key] = _page(rows, names[start : start + COLUMNS], title=told, note=note)
    return drawn or LeftOut(f"no record of {protocol} has pictures among its samples")


def _rows(source: Source, task: str, array: str, paint: Paint, most: int) -> list[Row]:
    assert source.folder is not None
    found: dict[str, dict[str, NDArray[Any]]] = {}
    dataset = ""
    for record in (record for record in source.records if record.task["id"] == task):
        arrays = read_arrays(record, source.folder)[0]
        if {"pictures", "rows", array} <= arrays.keys():
            found[record.backbone["name"]] = arrays
            dataset = record.task["dataset"]
    if not found:
        return []
    shared = set.intersection(*(set(arrays["rows"].tolist()) for arrays in found.values()))
    first = next(iter(found.values()))
    rows = []
    for number in [row for row in first["rows"].tolist() if row in shared][:most]:
        places = {name: arrays["rows"].tolist().index(number) for name, arrays in found.items()}
        made = {
            name: paint(arrays["pictures"][places[name]], arrays[array][places[name]]) for name, arrays in found.items()
        }
        rows.append(Row(dataset, number, first["pictures"][places[next(iter(found))]], made))
    return rows


def _page(rows: Sequence[Row], names: Sequence[str], *, title: str, note: str) -> Figure:
    shown = labels(names, 24)
    heads = max(0.4, *(0.09 + 0.055 * len(text) for text in shown.values()))
    left = 0.95
    figure, (panel,) = page(
        1,
        columns=1,
        height=SIDE * len(rows),
        width=max(4.5, left + 0.1 + SIDE * (1 + len(names))),
        margins=Margins(left=left, right=max(0.1, 4.5 - left - SIDE * (1 + len(names))), top=heads, bottom=0.1),
        title=title,
        note=note,
    )
    for row, each in enumerate(rows):
        _show(panel, each.picture, row, 0)
        for column, name in enumerate(names, 1):
            if name in each.made:
                _show(panel, each.made[name], row, column)
    panel.set_xlim(0, 1 + len(names))
    panel.set_ylim(len(rows), 0)
    panel.set_axis_off()
    for row, each in enumerate(rows):
        text = f"{each.dataset} {each.number}"
        panel.text(-0.1, row + 0.5, fitted(text, left - 0.12), ha="right", va="center", size=SMALL)
    for column, text in enumerate(["original", *shown.values()]):
        panel.text(column + 0.5, -0.1, text, ha="center", va="bottom", rotation=90, size=SMALL)
    return figure


def _show(panel: Axes, picture: NDArray[Any], row: int, column: int) -> None:
    edge = 0.03
    panel.imshow(
        picture,
        extent=(column + edge, column + 1 - edge, row + 1 - edge, row + edge),
        interpolation="antialiased",
        aspect="auto",
    )
