"""The study's tables again: what was measured beside what was published, a table a setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sslbench.results.published import AVERAGE, TABLES, Table, columns, figure, networks
from sslbench.results.record import Record


@dataclass(frozen=True)
class _Measured:
    """A score, and whether it was measured on the published pictures."""

    value: float
    comparable: bool


@dataclass(frozen=True)
class _Cell:
    """A measured score and the published one; None where there is none, or where they are of different pictures."""

    measured: float | None
    published: float | None

    def text(self, place: int | None) -> str:
        """place: 1 for the best of its column, 2 for the second."""
        if self.measured is None:
            return "–"
        value = f"{self.measured:.1f}"
        value = {1: f"**{value}**", 2: f"<u>{value}</u>"}.get(place or 0, value)
        if self.published is None:
            return value
        return f"{value} ({self.published:.1f}, {self.measured - self.published:+.1f})"


def study_tables(records: Iterable[Record]) -> str:
    """Markdown, one section for each published table that a record belongs to; empty when there is none.

    Rows are the study's networks in its order and then any other backbone that ran on these tasks; the last column is
    the average of the columns that a row has in full.
    """
    measured: dict[tuple[str, str], dict[str, _Measured]] = {}
    for record in records:
        setting = "/".join(filter(None, (record.task["protocol"], record.task["variant"])))
        score = _Measured(record.main.value, record.task.get("details", {}).get("complete", True))
        measured.setdefault((setting, record.task["dataset"]), {})[record.backbone["name"]] = score
    sections = [_section(table, measured) for table in TABLES]
    return "\n\n".join(filter(None, sections)) + ("\n" if any(sections) else "")


def _section(table: Table, measured: Mapping[tuple[str, str], Mapping[str, _Measured]]) -> str:
    names = columns(table)
    scores = {name: measured.get((table.setting, name), {}) for name in names}
    ran = {backbone for column in scores.values() for backbone in column}
    if not ran:
        return ""
    backbones = [name for name in networks() if name in ran] + sorted(ran - set(networks()))
    cells = {
        backbone: {name: _cell(table, backbone, name, scores[name].get(backbone)) for name in names}
        for backbone in backbones
    }
    for backbone in backbones:
        cells[backbone][AVERAGE] = _average(list(cells[backbone].values()))
    heads = [*names, AVERAGE]
    places = {name: _places({b: cells[b][name].measured for b in backbones}) for name in heads}
    rows = [
        [backbone, *(cells[backbone][name].text(places[name].get(backbone)) for name in heads)]
        for backbone in backbones
    ]
    lines = [["backbone", *heads], ["---", *["---:"] * len(heads)], *rows]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## {table.title}\n\n{body}\n\nMeasured (published, difference); **best** and <u>second best</u> of the measured."


def _cell(table: Table, backbone: str, column: str, measured: _Measured | None) -> _Cell:
    known = figure(table, backbone, column) if measured is None or measured.comparable else None
    return _Cell(None if measured is None else measured.value, None if known is None else known.value)


def _average(cells: Sequence[_Cell]) -> _Cell:
    """Each side's mean, where that side has every cell; an average of some columns would not be comparable."""
    sides = ([cell.measured for cell in cells], [cell.published for cell in cells])
    means = [sum(filter(None, side)) / len(side) if None not in side else None for side in sides]
    return _Cell(*means)


def _places(column: Mapping[str, float | None]) -> dict[str, int]:
    """1 and 2 for the best and the second-best value, shared by ties; nothing in a column of one."""
    values = sorted({value for value in column.values() if value is not None}, reverse=True)
    if sum(value is not None for value in column.values()) < 2:
        return {}
    return {name: values.index(value) + 1 for name, value in column.items() if value is not None}
