"""Tables of records: pure functions, so the same records in any order give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from sslbench.errors import RecordError
from sslbench.results.record import Record

if TYPE_CHECKING:
    import pandas as pd

TIMINGS = ("extract", "fit", "score", "images_per_second")
_TIMING_COLUMNS = ("extract_s", "fit_s", "score_s", "images_per_second")
VERDICT_MARKS = {"below": "▼", "above": "▲"}

_TEXT = ("backbone", "task", "protocol", "dataset", "variant", "score", "unit", "verdict", "created")
_COLUMNS = (
    *("backbone", "task", "protocol", "dataset", "variant", "score", "value", "stderr", "ci_low", "ci_high", "n"),
    *("unit", "reference", "tolerance", "verdict", *_TIMING_COLUMNS, "created"),
)
_VERDICT_LEGEND = "▼ below, ▲ above the reference by more than its tolerance"
_LEGEND = (
    "± standard error; **best** and <u>second best</u> of a column; ≈ these two are not separable (their 95 % "
    f"intervals overlap); {_VERDICT_LEGEND}."
)


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


def comparable(column: Sequence[Record]) -> bool:
    """Whether records of one task measure the same thing: equal task version, data and main score."""
    return len({(str(r.task["version"]), str(r.task["fingerprint"]), r.main_score) for r in column}) == 1


def long_table(records: Iterable[Record]) -> pd.DataFrame:
    """One row a record, sorted by task and backbone; what is not known is NaN in number columns."""
    import pandas as pd

    rows = []
    for record in ordered(records):
        score, task, reference = record.main, record.task, record.reference or {}
        numbers = (score.value, score.stderr, *score.ci95, score.n)
        known = (score.unit, reference.get("value"), reference.get("tolerance"), record.verdict)
        timings = (record.timings.get(name) for name in TIMINGS)
        names = (record.backbone["name"], task["id"], task["protocol"], task["dataset"], task["variant"])
        rows.append((*names, record.main_score, *numbers, *known, *timings, record.created))
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    # A column of nothing but None would otherwise be of objects, and its type would depend on the run.
    return frame.astype({name: float for name in _COLUMNS if name not in (*_TEXT, "n")} | {"n": int})


def to_csv(records: Iterable[Record]) -> str:
    """`long_table` as CSV."""
    return long_table(records).to_csv(index=False, lineterminator="\n")


def pivot_markdown(records: Iterable[Record]) -> str:
    """A Markdown table a protocol, backbones as rows and tasks as columns, and a legend."""
    records = ordered(records)
    if not records:
        return "No records.\n"
    protocols = sorted({record.task["protocol"] for record in records})
    tables = [_protocol_table(name, [r for r in records if r.task["protocol"] == name]) for name in protocols]
    return "\n\n".join([*tables, _LEGEND]) + "\n"


def terminal_table(records: Iterable[Record], width: int) -> list[str]:
    """Lines of plain text, backbones as rows and tasks as columns.

    Tasks that do not fit into `width` go to further blocks, one task a block at least.
    """
    records = ordered(records)
    if not records:
        return []
    backbones = sorted({record.backbone["name"] for record in records})
    cells = {(r.backbone["name"], r.task["id"]): _terminal_cell(r) for r in records}
    first = _padded(["backbone ", *(f"{name} " for name in backbones)], left=True)
    blocks: list[list[str]] = []
    for task in sorted({record.task["id"] for record in records}, key=natural):
        column = _padded([f"{task} ", *(cells.get((name, task), "– ") for name in backbones)], left=False)
        if not blocks or len(blocks[-1][0]) + 1 + len(column[0]) > width:
            blocks.append(list(first))
        blocks[-1] = [f"{line} {cell}" for line, cell in zip(blocks[-1], column, strict=True)]
    lines = [line.rstrip() for block in blocks for line in ["", *block]][1:]
    if any(record.verdict in VERDICT_MARKS for record in records):
        lines.append(_VERDICT_LEGEND)
    return lines


def column_title(record: Record, title: str) -> str:
    """`title`, with the unit and the direction of the record's score where they are not the usual ones."""
    score = record.main
    unusual = [score.unit] * (score.unit != "%") + ["lower is better"] * (not score.higher_is_better)
    return f"{title} ({', '.join(unusual)})" if unusual else title


def _protocol_table(protocol: str, records: list[Record]) -> str:
    backbones = sorted({record.backbone["name"] for record in records})
    columns: dict[str, list[Record]] = {}
    for record in records:
        columns.setdefault(record.task["id"], []).append(record)
    cells = {(r.backbone["name"], r.task["id"]): _marked(r, columns[r.task["id"]]) for r in records}
    titles = [_markdown(column_title(column[0], task.removeprefix(f"{protocol}/"))) for task, column in columns.items()]
    rows = [[_markdown(name), *(cells.get((name, task), "–") for task in columns)] for name in backbones]
    notes = [
        f"The records of {_markdown(task)} are of different task versions, data or scores and are not ranked; "
        "run the old ones again."
        for task, column in columns.items()
        if not comparable(column)
    ]
    if len(columns) > 1:
        averages, note = _averages(backbones, columns)
        titles.append("average")
        rows = [[*row, average] for row, average in zip(rows, averages, strict=True)]
        notes += [note] if note else []
    lines = [["backbone", *titles], ["---"] + ["---:"] * len(titles), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join([f"## {_markdown(protocol)}", table, *notes])


def _marked(record: Record, column: list[Record]) -> str:
    """The cell of a record in the column of its task."""
    text = f"{record.main.value:.1f} ± {record.main.stderr:.1f}"
    if len(column) > 1 and comparable(column):
        first, second = sorted(column, key=_merit, reverse=True)[:2]
        if _merit(record) == _merit(first):
            text = f"**{text}**" + (" ≈" if _overlap(first, second) else "")
        elif _merit(record) == _merit(second):
            text = f"<u>{text}</u>"
    return f"{text} {VERDICT_MARKS.get(record.verdict, '')}".rstrip()


def _merit(record: Record) -> float:
    return record.main.value if record.main.higher_is_better else -record.main.value


def _overlap(first: Record, second: Record) -> bool:
    (low_first, high_first), (low_second, high_second) = first.main.ci95, second.main.ci95
    return low_first <= high_second and low_second <= high_first


def _averages(backbones: list[str], columns: dict[str, list[Record]]) -> tuple[list[str], str]:
    """The average cell of each backbone and a note, empty where the average is over all columns."""
    shared = {t: column for t, column in columns.items() if len(column) == len(backbones) and comparable(column)}
    scales = {(column[0].main.unit, column[0].main.higher_is_better) for column in shared.values()}
    if not shared:
        return ["–"] * len(backbones), "No average: no task is comparable over all backbones."
    if len(scales) > 1:
        return ["–"] * len(backbones), "No average: the scores have different units or directions."
    sums = dict.fromkeys(backbones, 0.0)
    for record in chain.from_iterable(shared.values()):
        sums[record.backbone["name"]] += record.main.value
    averages = [f"{sums[name] / len(shared):.1f}" for name in backbones]
    if len(shared) == len(columns):
        return averages, ""
    names = ", ".join(_markdown(task) for task in shared)
    return averages, f"The average is over the {len(shared)} of {len(columns)} tasks that every backbone has: {names}."


def _terminal_cell(record: Record) -> str:
    return f"{record.main.value:.1f}±{record.main.stderr:.1f}{VERDICT_MARKS.get(record.verdict, ' ')}"


def _padded(cells: list[str], *, left: bool) -> list[str]:
    width = max(len(cell) for cell in cells)
    return [cell.ljust(width) if left else cell.rjust(width) for cell in cells]


def _markdown(text: str) -> str:
    # Underscores stay: inside a word, where names have them, they are no markup.
    return re.sub(r"([\\`*<|\[])", r"\\\1", " ".join(text.split()))
