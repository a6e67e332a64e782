"""All cases of a run in one table that can be sorted and filtered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from sslbench.report.document import cell, scrolled, sort_head, table
from sslbench.results.marks import (
    UNSOLVED_LEGEND,
    UNSOLVED_MARK,
    VERDICT_MARKS,
    guess,
    number_text,
    score_text,
    unsolved,
)
from sslbench.results.record import Record, by_task, slug
from sslbench.results.tables import TIMINGS

BAR_WIDTH, BAR_MARGIN = 140, 4

_TIMING_HEADS = ("Extract (s)", "Fit (s)", "Score (s)", "Images/s")


def case_table(records: Sequence[Record]) -> str:
    """HTML of the table, with the box that filters it and the sections of single cases.

    Columns of references and of the level of guessing are left out where no record has one.
    """
    ends = {task: _ends(column) for task, column in by_task(records).items()}
    guesses, references = any(guess([r]) is not None for r in records), any(r.reference for r in records)
    heads = [sort_head("Backbone"), sort_head("Task")]
    heads += [sort_head(text, number=True) for text in ("Score ± standard error", "95 % interval")]
    if guesses:
        heads.append(sort_head("Guessing", number=True))
    if references:
        heads += [sort_head("Reference ± tolerance", number=True), sort_head("Verdict")]
    heads += [sort_head(text, number=True, screen=True) for text in _TIMING_HEADS]
    rows = [_row(record, ends[record.task["id"]], guesses, references) for record in records]
    body = scrolled(table("".join(heads), rows, kind="sortable pinned", name="records"), "All cases")
    dashed = ", the dashed line the reference" if references else ""
    return (
        '<p id="search" hidden><label>Filter <input id="filter" type="search" placeholder="backbone, task, score"></label>\n'
        f'<span id="shown" role="status"></span></p>\n<p>Interval: one scale a task; the dot is the score{dashed}.</p>\n{body}'
    )


def _row(record: Record, ends: tuple[float, float], guesses: bool, references: bool) -> str:
    score = record.main
    text = escape(f"{score_text(score)} {score.unit} {record.main_score}")
    if unsolved(record):
        text += f' <abbr title="{escape(UNSOLVED_LEGEND)}">{UNSOLVED_MARK}</abbr>'
    name, part = escape(record.backbone["name"]), escape(slug(record.case))
    cells = [
        cell(record.backbone["name"], f'<a href="#{part}">{name}</a>', name=True),
        cell(record.task["id"], escape(record.task["id"]), name=True),
        cell(score.value, text, number=True),
        cell(score.ci95[0], _bar(record, ends)),
    ]
    if guesses:
        level = guess([record])
        cells.append(cell(level, "" if level is None else number_text(level, score.unit), number=True))
    if references:
        cells += _against(record)
    timings = [record.timings.get(name) for name in TIMINGS]
    cells += [cell(value, "" if value is None else f"{value:.1f}", number=True, screen=True) for value in timings]
    return f'<tr data-part="{part}">{"".join(cells)}</tr>'


def _against(record: Record) -> list[str]:
    """The reference, and the verdict where there is one."""
    held = [(record.reference or {}).get(field) for field in ("value", "tolerance")]
    expected = " ± ".join(number_text(value, record.main.unit) for value in held if value is not None)
    mark = (
        f"{VERDICT_MARKS.get(record.verdict, '')} {record.verdict}".strip() if record.verdict != "no-reference" else "–"
    )
    attributes = f'data-sort="{escape(record.verdict)}" data-verdict="{escape(record.verdict)}"'
    return [cell(held[0], escape(expected), number=True), f"<td {attributes}>{escape(mark)}</td>"]


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
        f'<svg role="img" aria-label="{label}" width="{BAR_WIDTH}" height="16" viewBox="0 0 {BAR_WIDTH} 16">'
        f'<title>{label}</title>{interval}{reference}<circle cx="{at(score.value)}" cy="8" r="3"/></svg>'
    )
