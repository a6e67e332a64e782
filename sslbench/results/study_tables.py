"""The study's tables again: what was measured beside what was published, a table a setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from sslbench.results.markdown import escape, table
from sslbench.results.marks import GUESSING, GUESSING_LEGEND, UNSOLVED_LEGEND, UNSOLVED_MARK, guess, unsolved
from sslbench.results.pairing import comparable
from sslbench.results.published import AVERAGE, TABLES, Table, columns, figure, networks
from sslbench.results.record import Record


@dataclass(frozen=True)
class _Cell:
    """A measured score and the published one; None where there is none, or where they are of different pictures.

    unsolved: see `sslbench.results.marks.unsolved`.
    """

    measured: float | None
    published: float | None
    unsolved: bool = False

    def text(self, place: int | None) -> str:
        """place: 1 for the best of its column, 2 for the second."""
        if self.measured is None:
            return "–"
        value = f"{self.measured:.1f}"
        value = {1: f"**{value}**", 2: f"<u>{value}</u>"}.get(place or 0, value) + UNSOLVED_MARK * self.unsolved
        if self.published is None:
            return value
        return f"{value} ({self.published:.1f}, {self.measured - self.published:+.1f})"


def study_tables(records: Iterable[Record]) -> str:
    """Markdown, one section for each published table that a record belongs to; empty when there is none.

    Rows are the study's networks in its order and then any other backbone that ran on these tasks; the last column is
    the average of the columns that a row has in full.
    """
    measured: dict[tuple[str, str], dict[str, Record]] = {}
    for record in records:
        setting = "/".join(filter(None, (record.task["protocol"], record.task["variant"])))
        measured.setdefault((setting, record.task["dataset"]), {})[record.backbone["name"]] = record
    sections = [_section(published, measured) for published in TABLES]
    return "\n\n".join(filter(None, sections)) + ("\n" if any(sections) else "")


def _section(published: Table, measured: Mapping[tuple[str, str], Mapping[str, Record]]) -> str:
    names = columns(published)
    scores = {name: measured.get((published.setting, name), {}) for name in names}
    ran = {backbone for column in scores.values() for backbone in column}
    if not ran:
        return ""
    backbones = [name for name in networks() if name in ran] + sorted(ran - set(networks()))
    cells = {
        backbone: {name: _cell(published, backbone, name, scores[name].get(backbone)) for name in names}
        for backbone in backbones
    }
    for backbone in backbones:
        cells[backbone][AVERAGE] = _average(list(cells[backbone].values()))
    apart = [name for name in names if not comparable(list(scores[name].values()))]
    heads = [*names, AVERAGE]
    ranked = [name for name in heads if name not in apart and not (apart and name == AVERAGE)]
    places = {name: _places({b: cells[b][name].measured for b in backbones}) for name in ranked}
    rows = [
        [escape(backbone), *(cells[backbone][name].text(places.get(name, {}).get(backbone)) for name in heads)]
        for backbone in backbones
    ]
    legend = ["Measured (published, difference); **best** and <u>second best</u> of the measured"]
    levels = {name: guess(scores[name].values()) for name in names}
    if any(level is not None for level in levels.values()):
        guessed = ("–" if level is None else f"{level:.1f}" for level in levels.values())
        rows.append([f"*{GUESSING}*", *guessed, "–"])
        legend.append(GUESSING_LEGEND)
    if any(map(unsolved, chain.from_iterable(column.values() for column in scores.values()))):
        legend.append(UNSOLVED_LEGEND)
    if apart:
        legend.append(
            f"not ranked, as the records are of different versions, data or compat choices: {', '.join(apart)}"
        )
    return f"## {published.title}\n\n{table(['backbone', *heads], rows)}\n\n{'; '.join(legend)}."


def _cell(published: Table, backbone: str, column: str, record: Record | None) -> _Cell:
    complete = record is None or record.task.get("details", {}).get("complete", True)
    known = figure(published, backbone, column) if complete else None
    value = None if known is None else known.value
    return _Cell(None, value) if record is None else _Cell(record.main.value, value, unsolved(record))


def _average(cells: Sequence[_Cell]) -> _Cell:
    """Each side's mean, where that side has every cell; an average of some columns would not be comparable."""
    sides = ([cell.measured for cell in cells], [cell.published for cell in cells])
    measured, published = (sum(filter(None, side)) / len(side) if None not in side else None for side in sides)
    return _Cell(measured, published)


def _places(column: Mapping[str, float | None]) -> dict[str, int]:
    """1 and 2 for the best and the second-best value, shared by ties; nothing in a column of one."""
    values = sorted({value for value in column.values() if value is not None}, reverse=True)
    if sum(value is not None for value in column.values()) < 2:
        return {}
    return {name: values.index(value) + 1 for name, value in column.items() if value is not None}
