"""A study's tables again: what was measured beside what was published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from sslbench.results.markdown import escape, table
from sslbench.results.marks import GUESSING, GUESSING_LEGEND, UNSOLVED_LEGEND, UNSOLVED_MARK, guess, unsolved
from sslbench.results.pairing import comparable
from sslbench.results.record import Record
from sslbench.studies import Column, Table, studies
from sslbench.studies.study import AVERAGE


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
    the average of the columns that a row has in full, where the paper prints one.
    """
    measured: dict[str, dict[str, Record]] = {}
    for record in records:
        measured.setdefault(record.task["id"], {})[record.backbone["name"]] = record
    sections = [_section(published, measured) for study in studies() for published in study.tables]
    return "\n\n".join(filter(None, sections)) + ("\n" if any(sections) else "")


def _section(published: Table, measured: Mapping[str, Mapping[str, Record]]) -> str:
    columns = published.columns
    records = {name: _by_backbone(column, measured) for name, column in columns.items()}
    ran = {backbone for column in records.values() for backbone in column}
    if not ran:
        return ""
    networks = published.networks()
    backbones = [name for name in networks if name in ran] + sorted(ran - set(networks))
    cells = {
        backbone: {name: _cell(published, backbone, name, records[name].get(backbone, ())) for name in columns}
        for backbone in backbones
    }
    heads = list(columns)
    if published.average:
        heads.append(AVERAGE)
        for backbone in backbones:
            cells[backbone][AVERAGE] = _average(list(cells[backbone].values()))
    other = [name for name in columns if any(_other_scale(published, name, r) for r in chain(*records[name].values()))]
    apart = [name for name in columns if name in other or not _ranked(records[name].values())]
    ranked = [name for name in heads if name not in apart and not (apart and name == AVERAGE)]
    places = {
        name: _places({b: cells[b][name].measured for b in backbones}, rising=_rising(columns, name)) for name in ranked
    }
    rows = [
        [escape(backbone), *(cells[backbone][name].text(places.get(name, {}).get(backbone)) for name in heads)]
        for backbone in backbones
    ]
    legend = ["Measured (published, difference); **best** and <u>second best</u> of the measured"]
    for unit in sorted({column.unit for column in columns.values()}):
        falling = [name for name in columns if columns[name].unit == unit and not _rising(columns, name)]
        rising = [name for name in columns if columns[name].unit == unit and _rising(columns, name)]
        legend += [f"in {unit}: {', '.join(rising)}"] * (bool(rising) and unit != "%")
        legend += [f"in {unit}, where lower is better: {', '.join(falling)}"] * bool(falling)
    if other:
        legend.append(f"measured in another unit or direction than published: {', '.join(other)}")
    # The level of guessing is told of main scores alone.
    levels = {
        name: guess(chain(*records[name].values())) if not column.score else None for name, column in columns.items()
    }
    if any(level is not None for level in levels.values()):
        guessed = ("–" if level is None else f"{level:.1f}" for level in levels.values())
        rows.append([f"*{GUESSING}*", *guessed, *(["–"] if published.average else [])])
        legend.append(GUESSING_LEGEND)
    if any(map(unsolved, chain.from_iterable(chain(*column.values()) for column in records.values()))):
        legend.append(UNSOLVED_LEGEND)
    if apart:
        legend.append(
            f"not ranked, as the records are of different versions, data or compat choices: {', '.join(apart)}"
        )
    if any(column.mean_of for column in columns.values()):
        legend.append(f"nothing is judged by these figures: {published.no_verdict}")
    return f"## {published.title}\n\n{table(['backbone', *heads], rows)}\n\n{'; '.join(legend)}."


def _by_backbone(column: Column, measured: Mapping[str, Mapping[str, Record]]) -> dict[str, tuple[Record, ...]]:
    """The records of a column by backbone, one for each of its tasks; a mean of some of its tasks would not be comparable."""
    of_tasks = [measured.get(task, {}) for task in column.tasks]
    found = {backbone: tuple(task[backbone] for task in of_tasks if backbone in task) for backbone in of_tasks[0]}
    whole = {backbone: records for backbone, records in found.items() if len(records) == len(of_tasks)}
    if not column.mean_of:
        return whole
    return {b: records for b, records in whole.items() if all(column.score in record.scores for record in records)}


def _ranked(column: Iterable[Sequence[Record]]) -> bool:
    """Whether the backbones' records are comparable, on each of the tasks."""
    return all(comparable(of_one_task) for of_one_task in zip(*column, strict=True))


def _rising(columns: Mapping[str, Column], name: str) -> bool:
    return name == AVERAGE or columns[name].higher_is_better


def _cell(published: Table, backbone: str, name: str, records: Sequence[Record]) -> _Cell:
    """records: one for each task of the column, or none."""
    complete = all(record.task.get("details", {}).get("complete", True) for record in records)
    known = published.figure(backbone, name) if complete else None
    value = None if known is None else known.value
    if not records:
        return _Cell(None, value)
    scores = [record.scores.get(published.columns[name].score or record.main_score, {}) for record in records]
    values = [score.get("value") for score in scores]
    measured = None if None in values else sum(filter(None, values)) / len(values)
    # In another unit or direction than what is published, it stands alone.
    other = any(_other_scale(published, name, record) for record in records)
    return _Cell(measured, None if other else value, any(map(unsolved, records)))


def _other_scale(published: Table, name: str, record: Record) -> bool:
    column = published.columns[name]
    score = record.scores.get(column.score or record.main_score)
    return score is not None and (score["unit"], score["higher_is_better"]) != (column.unit, column.higher_is_better)


def _average(cells: Sequence[_Cell]) -> _Cell:
    """Each side's mean, where that side has every cell; an average of some columns would not be comparable."""
    sides = ([cell.measured for cell in cells], [cell.published for cell in cells])
    measured, published = (sum(filter(None, side)) / len(side) if None not in side else None for side in sides)
    return _Cell(measured, published)


def _places(column: Mapping[str, float | None], *, rising: bool) -> dict[str, int]:
    """1 and 2 for the best and the second-best value, shared by ties; nothing in a column of one."""
    values = sorted({value for value in column.values() if value is not None}, reverse=rising)
    if sum(value is not None for value in column.values()) < 2:
        return {}
    return {name: values.index(value) + 1 for name, value in column.items() if value is not None}
