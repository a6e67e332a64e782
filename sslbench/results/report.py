"""The report of a run: one HTML page that needs nothing beside itself, and the tables as files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from sslbench.files import write_atomic
from sslbench.names import printable
from sslbench.results.compare import RECIPE, flatten
from sslbench.results.dense_report import mask_section, mask_tables
from sslbench.results.dense_report import to_csv as mask_csv
from sslbench.results.detection_report import class_tables, detection_section
from sslbench.results.detection_report import to_csv as detection_csv
from sslbench.results.marks import (
    GUESSING,
    UNSOLVED_LEGEND,
    UNSOLVED_MARK,
    VERDICT_MARKS,
    guess,
    legends,
    marks,
    number_text,
    score_text,
    unsolved,
)
from sslbench.results.pairing import comparable
from sslbench.results.ranks import ranking, ranking_markdown
from sslbench.results.record import Record, by_task, plain, slug
from sslbench.results.study_tables import study_tables
from sslbench.results.tables import TIMINGS, column_title, ordered, pivot_markdown, to_csv

_BAR_WIDTH, _BAR_MARGIN = 140, 4


def write_report(records: Iterable[Record], directory: Path) -> list[Path]:
    """Write `summary.csv`, `summary.md` and `report.html` into `directory` and return their paths.

    Where records belong to the study's tables, `study.md` sets them beside the published figures. Where records have
    detections beside them, below `directory`, `detection.csv` has the scores of each class, and where they have masks
    `masks.csv` has.
    """
    records = ordered(records)
    tables = class_tables(records, directory / "records")
    masks = mask_tables(records, directory / "records")
    sections = detection_section(tables, directory.name) + mask_section(masks, directory.name)
    texts = {
        "summary.csv": to_csv(records),
        "summary.md": pivot_markdown(records) + ranking_markdown(ranking(records)),
        "report.html": html_report(records, title="sslbench report", sections=sections),
    }
    if study := study_tables(records):
        texts["study.md"] = study
    if tables:
        texts["detection.csv"] = detection_csv(tables)
    if masks:
        texts["masks.csv"] = mask_csv(masks)
    for name, text in texts.items():
        write_atomic(directory / name, printable(text).encode())
    return [directory / name for name in texts]


def html_report(records: Iterable[Record], *, title: str, sections: str = "") -> str:
    """One self-contained page: overview, sortable table with a filter, and the recipe of every record.

    sections: HTML for records with detections or masks (`sslbench.results.detection_report`, `dense_report`).
    """
    records = ordered(records)
    columns = by_task(records)
    heats = {task: _heats(column) for task, column in columns.items()}
    template = files("sslbench.results").joinpath("report_template.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(title),
        overview=_overview(columns, heats),
        legends=" ".join(f"{escape(legend[0].upper() + legend[1:])}." for legend in legends(records)),
        rows="\n".join(_row(record, columns[record.task["id"]]) for record in records),
        sections=sections,
        recipes="\n".join(_recipe(record) for record in records),
    )


def _overview(columns: dict[str, list[Record]], heats: dict[str, list[float]]) -> str:
    """Backbones x tasks; the better within its column, the stronger the cell's colour. The level of guessing at the end."""
    backbones = sorted({record.backbone["name"] for column in columns.values() for record in column})
    heads = "".join(f'<th scope="col">{escape(column_title(column[0], task))}</th>' for task, column in columns.items())
    cells = {
        (record.backbone["name"], task): _heat_cell(record, heat)
        for task, column in columns.items()
        for record, heat in zip(column, heats[task], strict=True)
    }
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(cells.get((name, task), '<td class="number">–</td>') for task in columns)
        + "</tr>"
        for name in backbones
    )
    levels = [guess(column) for column in columns.values()]
    foot = ""
    if any(level is not None for level in levels):
        units = [column[0].main.unit for column in columns.values()]
        guessed = "".join(
            f'<td class="number">{"–" if level is None else number_text(level, unit)}</td>'
            for level, unit in zip(levels, units, strict=True)
        )
        foot = f'\n<tfoot><tr><th scope="row">{GUESSING}</th>{guessed}</tr></tfoot>'
    return f'<thead><tr><th scope="col">Backbone</th>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>{foot}'


def _heats(column: Sequence[Record]) -> list[float]:
    """How far each record is from the worst of its task, from 0 to 100; 0 where they are not comparable."""
    scores = [record.main for record in column]
    values, stderrs = [score.value for score in scores], [s.stderr for s in scores if math.isfinite(s.stderr)]
    # At least four standard errors a full scale: a column whose spread is noise must stay pale.
    scale = max(max(values) - min(values), 4 * max(stderrs, default=0.0))
    if not scale or not comparable(column):
        return [0.0] * len(column)
    worst = min(values) if scores[0].higher_is_better else max(values)
    return [100 * abs(value - worst) / scale for value in values]


def _heat_cell(record: Record, heat: float) -> str:
    text = f"{score_text(record.main)} {marks(record)}".rstrip()
    link = f'<a href="#{escape(slug(record.case))}">{text}</a>'
    return f'<td class="number heat" style="--heat: {heat:.0f}%">{link}</td>'


def _row(record: Record, column: Sequence[Record]) -> str:
    score, reference = record.main, record.reference or {}
    expected, tolerance = reference.get("value"), reference.get("tolerance")
    numbers = [number_text(value, score.unit) for value in (expected, tolerance) if value is not None]
    expected_text = "" if expected is None else " ± ".join(numbers)
    mark = f"{VERDICT_MARKS.get(record.verdict, '')} {record.verdict}".strip()
    text = escape(f"{score_text(score)} {score.unit} {record.main_score}")
    if unsolved(record):
        text += f' <abbr title="{escape(UNSOLVED_LEGEND)}">{UNSOLVED_MARK}</abbr>'
    name, level = escape(record.backbone["name"]), guess([record])
    cells = [
        _cell(record.backbone["name"], f'<a href="#{escape(slug(record.case))}">{name}</a>'),
        _cell(record.task["id"], escape(record.task["id"])),
        _cell(score.value, text, number=True),
        _cell(score.ci95[0], _bar(record, column)),
        _cell(level, "" if level is None else number_text(level, score.unit), number=True),
        _cell(expected, escape(expected_text), number=True),
        f'<td data-sort="{escape(record.verdict)}" data-verdict="{escape(record.verdict)}">{escape(mark)}</td>',
    ]
    timings = [record.timings.get(name) for name in TIMINGS]
    cells += [_cell(value, "" if value is None else f"{value:.1f}", number=True) for value in timings]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(key: str | float | None, content: str, *, number: bool = False) -> str:
    """A table cell; `content` is HTML, `key` is what the column sorts by."""
    kind = ' class="number"' if number else ""
    unknown = key is None or (isinstance(key, float) and not math.isfinite(key))
    return f'<td{kind} data-sort="{"" if unknown else escape(str(key))}">{content}</td>'


def _bar(record: Record, column: Sequence[Record]) -> str:
    """The 95 % interval and the reference, on a scale that all records of the task share."""
    ends = [end for other in column for end in (other.main.value, *other.main.ci95) if math.isfinite(end)]
    ends += [other.reference["value"] for other in column if other.reference and "value" in other.reference]
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def at(value: float) -> str:
        return f"{_BAR_MARGIN + (_BAR_WIDTH - 2 * _BAR_MARGIN) * (value - low) / span:.1f}"

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
        f'<svg role="img" aria-label="{label}" width="{_BAR_WIDTH}" height="16"><title>{label}</title>'
        f'{interval}{reference}<circle cx="{at(score.value)}" cy="8" r="3"/></svg>'
    )


def _recipe(record: Record) -> str:
    fields = [*RECIPE, "scores", "references", "timings", "peak_memory", "samples"]
    parts = {field: flatten(plain(known), field) for field in fields if (known := getattr(record, field))}
    parts["record"] = {name: str(getattr(record, name)) for name in ("case", "key", "created", "schema_version")}
    lists = "\n".join(
        f"<h3>{escape(field)}</h3>\n<dl>"
        + "".join(
            f"<dt>{escape(path.removeprefix(f'{field}.'))}</dt><dd>{escape(text)}</dd>" for path, text in items.items()
        )
        + "</dl>"
        for field, items in parts.items()
    )
    title = f"{escape(record.backbone['name'])} · {escape(record.task['id'])}"
    return f'<details id="{escape(slug(record.case))}"><summary>{title}</summary>\n{lists}\n</details>'
