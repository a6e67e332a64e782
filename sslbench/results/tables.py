"""Tables of records: pure functions, so the same records in any order give the same bytes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from sslbench.errors import RecordError
from sslbench.protocols import measures_transfer
from sslbench.results.markdown import escape, table
from sslbench.results.marks import (
    GUESSING,
    VERDICT_LEGEND,
    guess,
    legends,
    marks,
    mean_guess,
    number_text,
    score_text,
    unsolved,
)
from sslbench.results.pairing import LEVEL, comparable, separated, why_not_comparable
from sslbench.results.record import Record, by_task
from sslbench.results.short_names import ShortNames, short_names

if TYPE_CHECKING:
    import pandas as pd

TIMINGS = ("extract", "fit", "score", "images_per_second")
_TIMING_COLUMNS = ("extract_s", "fit_s", "score_s", "images_per_second")

_TEXT = ("backbone", "task", "protocol", "dataset", "variant", "score", "unit", "verdict", "created")
_COLUMNS = (
    *("backbone", "task", "protocol", "dataset", "variant", "score", "value", "stderr", "ci_low", "ci_high", "n"),
    *("unit", "guess", "reference", "tolerance", "verdict", "unsolved", *_TIMING_COLUMNS, "created"),
)
_LEGEND = (
    "± standard error; **best** and <u>second best</u> of a column; ≈ the data do not separate these two (paired test on "
    f"the same items, two-sided p of this one pair at least {LEVEL:g}; without single outcomes: overlapping 95 % intervals)"
)
_NOTHING = "–"


def natural(text: str) -> list[tuple[int, str]]:
    """A sort key that puts 5shot before 20shot."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def ordered(records: Iterable[Record]) -> list[Record]:
    """The records by task, then backbone; RecordError where two are of one case, for which a table has one place."""
    result = sorted(records, key=lambda record: (natural(record.task["id"]), record.backbone["name"]))
    for first, second in pairwise(result):
        if (first.task["id"], first.backbone["name"]) == (second.task["id"], second.backbone["name"]):
            raise RecordError(f"expected one record a case, got two of {first.case!r}; make one table a run")
    return result


def long_table(records: Iterable[Record]) -> pd.DataFrame:
    """One row a record, sorted by task and backbone; what is not known is NaN in number columns.

    `guess` is the level of guessing in the score's unit; `unsolved` tells of a probe that did not reach its tolerance.
    """
    import pandas as pd

    rows = []
    for record in ordered(records):
        score, task, reference = record.main, record.task, record.reference or {}
        numbers = (score.value, score.stderr, *score.ci95, score.n)
        known = (score.unit, guess([record]), reference.get("value"), reference.get("tolerance"), record.verdict)
        timings = (record.timings.get(name) for name in TIMINGS)
        names = (record.backbone["name"], task["id"], task["protocol"], task["dataset"], task["variant"])
        rows.append((*names, record.main_score, *numbers, *known, unsolved(record), *timings, record.created))
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    # A column of nothing but None would otherwise be of objects, and its type would depend on the run.
    types = {name: float for name in _COLUMNS if name not in _TEXT} | {"n": int, "unsolved": bool}
    return frame.astype(types)


def to_csv(records: Iterable[Record]) -> str:
    """`long_table` as CSV."""
    return long_table(records).to_csv(index=False, lineterminator="\n")


def pivot_markdown(records: Iterable[Record]) -> str:
    """A Markdown table a protocol, backbones as rows and tasks as columns, and a legend."""
    records = ordered(records)
    if not records:
        return "No records.\n"
    names = short_names(records)
    protocols = sorted({record.task["protocol"] for record in records})
    tables = [_protocol_table(name, [r for r in records if r.task["protocol"] == name], names) for name in protocols]
    told = "; ".join(dict.fromkeys([_LEGEND, VERDICT_LEGEND, *legends(records)]))
    notes = [f"{escape(note)}." for note in names.notes]
    return "\n\n".join([*tables, *notes, f"{told}."]) + "\n"


def terminal_table(records: Iterable[Record], width: int) -> list[str]:
    """Lines of plain text, backbones as rows and tasks as columns, and at the end of a block the level of guessing.

    Tasks that do not fit into `width` go to further blocks, one task a block at least.
    """
    records = ordered(records)
    if not records:
        return []
    names, columns = short_names(records), by_task(records)
    backbones = sorted({record.backbone["name"] for record in records})
    room = max(1, *(len(marks(record)) for record in records))
    cells = {(r.backbone["name"], r.task["id"]): f"{score_text(r.main, between='±')}{marks(r):{room}}" for r in records}
    levels = {task: guess(column) for task, column in columns.items()}
    first = _padded(["backbone ", *(f"{names.backbones[name]} " for name in backbones), f"{GUESSING} "], left=True)
    blocks: list[list[str]] = []
    known: list[bool] = []
    for task, level in levels.items():
        column = [cells.get((name, task), "–" + " " * room) for name in backbones]
        guessed = _level(level, columns[task][0].main.unit) + " " * room
        column = _padded([names.tasks[task] + " " * room, *column, guessed], left=False)
        if not blocks or len(blocks[-1][0]) + 1 + len(column[0]) > width:
            blocks.append(list(first))
            known.append(False)
        known[-1] |= level is not None
        blocks[-1] = [f"{line} {cell}" for line, cell in zip(blocks[-1], column, strict=True)]
    blocks = [block if guessed else block[:-1] for block, guessed in zip(blocks, known, strict=True)]
    lines = [line.rstrip() for block in blocks for line in ["", *block]][1:]
    for told in (*names.notes, *_scales(columns, names), *legends(records)):
        lines += textwrap.wrap(told, max(width, 40), subsequent_indent="  ", break_long_words=False)
    return lines


def _scales(columns: Mapping[str, list[Record]], names: ShortNames) -> list[str]:
    """Which columns have a score in another unit or direction than the usual ones."""
    told: dict[str, list[str]] = {}
    for task, column in columns.items():
        if unusual := _unusual(column[0]):
            told.setdefault(unusual, []).append(names.tasks[task])
    return [f"{unusual}: {', '.join(tasks)}" for unusual, tasks in told.items()]


def column_title(record: Record, title: str) -> str:
    """`title`, with the unit and the direction of the record's score where they are not the usual ones."""
    unusual = _unusual(record)
    return f"{title} ({unusual})" if unusual else title


def _unusual(record: Record) -> str:
    score = record.main
    direction = ["lower is better"] * (not score.higher_is_better)
    if not measures_transfer(record.task["protocol"]):
        direction = ["neither end is better"]
    return ", ".join([score.unit] * (score.unit != "%") + direction)


def _protocol_table(protocol: str, records: list[Record], names: ShortNames) -> str:
    backbones = sorted({record.backbone["name"] for record in records})
    columns = by_task(records)
    cells = {(r.backbone["name"], task): cell for task, column in columns.items() for r, cell in _cells(column)}
    titles = [
        escape(column_title(column[0], names.tasks[task].removeprefix(f"{protocol}/")))
        for task, column in columns.items()
    ]
    rows = [[escape(names.backbones[name]), *(cells.get((name, task), "–") for task in columns)] for name in backbones]
    notes = [
        f"The records of {escape(task)} are of different task versions, data, compat choices or scores and are not "
        f"ranked; run the old ones again. {escape(why)}."
        for task, column in columns.items()
        if (why := why_not_comparable(column)) is not None
    ]
    levels = [_level(guess(column), column[0].main.unit) for column in columns.values()]
    if len(columns) > 1:
        averages, guessed, note = _averages(backbones, columns)
        titles.append("average")
        rows = [[*row, average] for row, average in zip(rows, averages, strict=True)]
        levels.append(guessed)
        notes += [note] if note else []
    if any(level != _NOTHING for level in levels):
        rows.append([f"*{GUESSING}*", *levels])
    return "\n\n".join([f"## {escape(protocol)}", table(["backbone", *titles], rows), *notes])


def _level(level: float | None, unit: str) -> str:
    return _NOTHING if level is None else number_text(level, unit)


def _cells(column: list[Record]) -> list[tuple[Record, str]]:
    """The cell of each record in the column of its task."""
    texts = [score_text(record.main) for record in column]
    if len(column) > 1 and comparable(column):
        first, second = sorted(column, key=_merit, reverse=True)[:2]
        doubt = "" if separated(first, second) else " ≈"
        for index, record in enumerate(column):
            if _merit(record) == _merit(first):
                texts[index] = f"**{texts[index]}**{doubt}"
            elif _merit(record) == _merit(second):
                texts[index] = f"<u>{texts[index]}</u>"
    return [(record, f"{text} {marks(record)}".rstrip()) for record, text in zip(column, texts, strict=True)]


def _merit(record: Record) -> float:
    return record.main.value if record.main.higher_is_better else -record.main.value


def _averages(backbones: list[str], columns: Mapping[str, list[Record]]) -> tuple[list[str], str, str]:
    """The average cell of each backbone, that of guessing, and a note, empty where the average is over all columns."""
    shared = {t: column for t, column in columns.items() if len(column) == len(backbones) and comparable(column)}
    scales = {(column[0].main.unit, column[0].main.higher_is_better) for column in shared.values()}
    if not shared:
        return [_NOTHING] * len(backbones), _NOTHING, "No average: no task is comparable over all backbones."
    if len(scales) > 1:
        return [_NOTHING] * len(backbones), _NOTHING, "No average: the scores have different units or directions."
    sums = dict.fromkeys(backbones, 0.0)
    for record in chain.from_iterable(shared.values()):
        sums[record.backbone["name"]] += record.main.value
    ((unit, _),) = scales
    averages = [number_text(sums[name] / len(shared), unit) for name in backbones]
    guessed = _level(mean_guess(shared.values()), unit)
    if len(shared) == len(columns):
        return averages, guessed, ""
    told = ", ".join(escape(task) for task in shared)
    return (
        averages,
        guessed,
        f"The average is over the {len(shared)} of {len(columns)} tasks that every backbone has: {told}.",
    )


def _padded(cells: Sequence[str], *, left: bool) -> list[str]:
    width = max(len(cell) for cell in cells)
    return [cell.ljust(width) if left else cell.rjust(width) for cell in cells]
