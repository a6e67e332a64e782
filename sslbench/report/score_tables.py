"""The scores of a run side by side: a table a protocol, backbones down and tasks across."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import accumulate, pairwise
from statistics import median_low

from sslbench.analyses.sheet import is_control
from sslbench.protocols import measures_transfer
from sslbench.report.document import head, number, row_head, scrolled, table
from sslbench.results.marks import GUESSING, guess, marks, number_text, score_text
from sslbench.results.pairing import comparable
from sslbench.results.record import Record, by_task, slug
from sslbench.results.short_names import ShortNames


def score_tables(records: Sequence[Record], names: ShortNames) -> str:
    """HTML of all tables. records: in the order of `sslbench.results.tables.ordered`."""
    protocols = sorted({record.task["protocol"] for record in records})
    return "\n".join(_table(name, [r for r in records if r.task["protocol"] == name], names) for name in protocols)


def heats(column: Sequence[Record]) -> list[float | None]:
    """How far each record of a task is from the worst trained backbone's, from 0 to 100; None for controls and analyses.

    Distances are sums of the gaps between scores that follow each other, of which one counts at most four standard errors or
    twice the median gap, whichever is more: one outstanding score would leave all others a single colour, and so would
    controls, which lie far below. A full scale is four standard errors at least, so that a column whose spread is noise stays
    pale. 0 for all where the records are not comparable.
    """
    if not measures_transfer(column[0].task["protocol"]):
        return [None] * len(column)
    trained = [record for record in column if not is_control(record.backbone["name"])]
    if not trained:
        return [None] * len(column)
    scores = [record.main for record in trained]
    surely = 4 * max((score.stderr for score in scores if math.isfinite(score.stderr)), default=0.0)
    ranked = sorted({score.value for score in scores}, reverse=not scores[0].higher_is_better)
    gaps = [abs(after - before) for before, after in pairwise(ranked)]
    most = max(surely, 2 * median_low(gaps)) if gaps else 0.0
    distances = dict(zip(ranked, accumulate((min(gap, most) for gap in gaps), initial=0.0), strict=True))
    scale = max(distances[ranked[-1]], surely)
    even = not scale or not comparable(column)
    return [
        None if is_control(record.backbone["name"]) else 0.0 if even else 100 * distances[record.main.value] / scale
        for record in column
    ]


def scale_text(record: Record) -> str:
    """Unit and direction of a record's main score, such as `%, higher is better`; of an analysis that it has none."""
    direction = f"{'higher' if record.main.higher_is_better else 'lower'} is better"
    if not measures_transfer(record.task["protocol"]):
        direction = "describes networks, neither end is better"
    return ", ".join(filter(None, (record.main.unit, direction)))


def _table(protocol: str, records: Sequence[Record], names: ShortNames) -> str:
    columns = by_task(records)
    backbones = sorted({r.backbone["name"] for r in records}, key=lambda name: (is_control(name), name))
    cells = {
        (record.backbone["name"], task): _cell(record, heat)
        for task, column in columns.items()
        for record, heat in zip(column, heats(column), strict=True)
    }
    scales = {scale_text(column[0]) for column in columns.values()}
    heads = head("Backbone") + "".join(_head(column[0], names, len(scales) > 1) for column in columns.values())
    levels = [guess(column) for column in columns.values()]
    foot = ""
    if any(level is not None for level in levels):
        units = [column[0].main.unit for column in columns.values()]
        foot = row_head(GUESSING) + "".join(
            number("–" if level is None else number_text(level, unit))
            for level, unit in zip(levels, units, strict=True)
        )
    body = table(heads, list(_rows(backbones, columns, cells, names)), foot=foot, kind="pinned plain")
    told = f"<p>{escape(next(iter(scales)))}.</p>\n" if len(scales) == 1 else ""
    return f"<h3>{escape(protocol)}</h3>\n{told}{scrolled(body, f'Scores, {protocol}')}"


def _head(record: Record, names: ShortNames, scale: bool) -> str:
    """The data set and, smaller, the variant, the score, and its scale where the table has several."""
    short = names.tasks[record.task["id"]].removeprefix(f"{record.task['protocol']}/")
    dataset, _, variant = short.partition("/") if record.task["dataset"] == short.split("/")[0] else (short, "", "")
    small = [variant, record.main_score, scale_text(record) if scale else ""]
    return head(dataset, small=" · ".join(filter(None, small)), number=True)


def _rows(
    backbones: Sequence[str],
    columns: Mapping[str, Sequence[Record]],
    cells: Mapping[tuple[str, str], str],
    names: ShortNames,
) -> list[str]:
    rows, before = [], False
    for place, name in enumerate(backbones):
        control = is_control(name)
        # A line stands between what was trained and what was not.
        first = ' class="first-control"' if control and not before and place else ""
        before = control
        scores = "".join(cells.get((name, task), number("–")) for task in columns)
        rows.append(f"<tr{first}>{row_head(names.backbones[name], control=control)}{scores}</tr>")
    return rows


def _cell(record: Record, heat: float | None) -> str:
    value, _, stderr = score_text(record.main).partition(" ± ")
    text = f"{value} <small>± {stderr}</small> {marks(record)}".rstrip()
    link = f'<a href="#{escape(slug(record.case))}">{text}</a>'
    style = "" if heat is None else f' style="--heat: {heat:.0f}%"'
    return f'<td class="number{"" if heat is None else " heat"}"{style}>{link}</td>'
