"""All cases of a run in one table that can be sorted and filtered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from sslbench.report.document import cell, scrolled, sort_head, table
from sslbench.results.marks import UNSOLVED_LEGEND, UNSOLVED_MARK, VERDICT_MARKS, guess, number_text, score_text, unsolved
from sslbench.results.record import Record, by_task, slug
from sslbench.results.tables import TIMINGS

BAR_WIDTH, BAR_MARGIN = 140, 4

_TEXT_HEADS = ("Backbone", "Task")
_NUMBER_HEADS = ("Score ± standard error", "95 % interval", "Guessing", "Reference ± tolerance")
_TIMING_HEADS = ("Extract (s)", "Fit (s)", "Score (s)", "Images/s")


def case_table(records: Sequence[Record]) -> str:
    """HTML of the table, with the box that filters it and the sections of single cases."""
    columns = by_task(records)
    ends = {task: _ends(column) for task, column in columns.items()}
    heads = "".join(
        [
            *(sort_head(text) for text in _TEXT_HEADS),
            *(sort_head(text, number=True) for text in _NUMBER_HEADS),
            sort_head("Verdict"),
            *(sort_head(text, number=True) for text in _TIMING_HEADS),
        ]
    )
    rows = [_row(record, ends[record.task["id"]]) for record in records]
    body = scrolled(table(heads, rows, kind="sortable pinned", name="records"), "All cases")
    return (
        '<p id="search" hidden><label>Filter <input id="filter" type="search" placeholder="backbone, task, verdict"></label>\n'
        '<span id="shown" role="status"></span></p>\n'
        "<p>Interval: one scale a task; the dot is the score, the dashed line the reference.</p>\n" + body
    )


def _row(record: Record, ends: tuple[float, float]) -> str:
    score, reference = record.main, record.reference or {}
    expected, tolerance = reference.get("value"), reference.get("tolerance")
    numbers = [number_text(value, score.unit) for value in (expected, tolerance) if value is not None]
    expected_text = "" if expected is None else " ± ".join(numbers)
    mark = f"{VERDICT_MARKS.get(record.verdict, '')} {record.verdict}".strip()
    text = escape(f"{score_text(score)} {score.unit} {record.main_score}")
    if unsolved(record):
        text += f' <abbr title="{escape(UNSOLVED_LEGEND)}">{UNSOLVED_MARK}</abbr>'
    name, level, part = escape(record.backbone["name"]), guess([record]), escape(slug(record.case))
    cells = [
        cell(record.backbone["name"], f'<a href="#{part}">{name}</a>', name=True),
        cell(record.task["id"], escape(record.task["id"]), name=True),
        cell(score.value, text, number=True),
        cell(score.ci95[0], _bar(record, ends)),
        cell(level, "" if level is None else number_text(level, score.unit), number=True),
        cell(expected, escape(expected_text), number=True),
        f'<td data-sort="{escape(record.verdict)}" data-verdict="{escape(record.verdict)}">{escape(mark)}</td>',
    ]
    timings = [record.timings.get(name) for name in TIMINGS]
    cells += [cell(value, "" if value is None else f"{value:.1f}", number=True) for value in timings]
    return f'<tr data-part="{part}">{"".join(cells)}</tr>'


def _ends(column: Sequence[Record]) -> tuple[float, float]:
    """The smallest and the largest number that a task's bars show."""
    ends = [end for other in column for end in (other.main.value, *other.main.ci95) if math.isfinite(end)]
    ends += [other.reference["value"] for other in column if other.reference and "value" in other.reference]
    return min(ends), max(ends)


def _bar(record: Record, ends: tuple[float, float]) -> str:
    """The 95 % interval and the reference, on a scale that all records of the task share."""
    low, span = ends[0], (ends[1] - ends[0]) or 1.0

    def at(value: float) -> str:
        return f"{BAR_MARGIN + (BAR_WIDTH - 2 * BAR_MARGIN) * (value - low) / span:.1f}"

    score, (lower, upper) = record.main, record.main.ci95
    label, interval, reference = "interval not known", "", ""
    if math.isfinite(lower) and math.isfinite(upper):
        label = f"{number_text(lower, score.unit)} to {number_text(upper, score.unit)}"
        interval = f'<line class="interval" x1="{at(lower)}" x2="{at(upper)}" y1="8" y2="8"/>'
    if record.reference and "value" in record.reference:
        x = at(record.reference["value"])
        label += f", reference {number_text(record.reference['value'], score.unit)}"
        reference = f'<line class="reference" x1="{x}" x2="{x}" y1="1" y2="15"/>'
    return (
        f'<svg role="img" aria-label="{label}" width="{BAR_WIDTH}" height="16"><title>{label}</title>'
        f'{interval}{reference}<circle cx="{at(score.value)}" cy="8" r="3"/></svg>'
    )
