"""The report of a run: one HTML page that needs nothing beside itself, and the tables as files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from sslbench.files import write_atomic
from sslbench.results.compare import RECIPE, flatten
from sslbench.results.ranks import ranking, ranking_markdown
from sslbench.results.record import Record, slug
from sslbench.results.study_tables import study_tables
from sslbench.results.tables import (
    TIMINGS,
    VERDICT_MARKS,
    column_title,
    comparable,
    ordered,
    pivot_markdown,
    to_csv,
)

_BAR_WIDTH, _BAR_MARGIN = 140, 4


def write_report(records: Iterable[Record], directory: Path) -> list[Path]:
    """Write `summary.csv`, `summary.md` and `report.html` into `directory` and return their paths.

    Where records belong to the study's tables, `study.md` sets them beside the published figures.
    """
    records = ordered(records)
    texts = {
        "summary.csv": to_csv(records),
        "summary.md": pivot_markdown(records) + ranking_markdown(ranking(records)),
        "report.html": html_report(records, title="sslbench report"),
    }
    if study := study_tables(records):
        texts["study.md"] = study
    for name, text in texts.items():
        write_atomic(directory / name, text.encode())
    return [directory / name for name in texts]


def html_report(records: Iterable[Record], *, title: str) -> str:
    """One self-contained page: overview, sortable table with a filter, and the recipe of every record."""
    records = ordered(records)
    columns: dict[str, list[Record]] = {}
    for record in records:
        columns.setdefault(record.task["id"], []).append(record)
    template = files("sslbench.results").joinpath("report_template.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(title),
        overview=_overview(columns),
        rows="\n".join(_row(record, columns[record.task["id"]]) for record in records),
        recipes="\n".join(_recipe(record) for record in records),
    )


def _overview(columns: dict[str, list[Record]]) -> str:
    """Backbones x tasks; the better within its column, the stronger the cell's colour."""
    backbones = sorted({record.backbone["name"] for column in columns.values() for record in column})
    heads = "".join(f'<th scope="col">{escape(column_title(column[0], task))}</th>' for task, column in columns.items())
    cells = {(r.backbone["name"], task): _heat_cell(r, column) for task, column in columns.items() for r in column}
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(cells.get((name, task), '<td class="number">–</td>') for task in columns)
        + "</tr>"
        for name in backbones
    )
    return f'<thead><tr><th scope="col">Backbone</th>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>'


def _heat_cell(record: Record, column: Sequence[Record]) -> str:
    score, values = record.main, [other.main.value for other in column]
    heat = 0.0
    if comparable(column):
        worst = min(values) if score.higher_is_better else max(values)
        # At least four standard errors a full scale: a column whose spread is noise must stay pale.
        scale = max(max(values) - min(values), 4 * max(other.main.stderr for other in column))
        heat = 100 * abs(score.value - worst) / scale if scale else 0.0
    text = f"{score.value:.1f} ± {score.stderr:.1f} {VERDICT_MARKS.get(record.verdict, '')}".rstrip()
    link = f'<a href="#{escape(slug(record.case))}">{text}</a>'
    return f'<td class="number heat" style="--heat: {heat:.0f}%">{link}</td>'


def _row(record: Record, column: Sequence[Record]) -> str:
    score, reference = record.main, record.reference or {}
    expected, tolerance = reference.get("value"), reference.get("tolerance")
    expected_text = "" if expected is None else f"{expected:.1f}" + ("" if tolerance is None else f" ± {tolerance:.1f}")
    mark = f"{VERDICT_MARKS.get(record.verdict, '')} {record.verdict}".strip()
    score_text = f"{score.value:.1f} ± {score.stderr:.1f} {score.unit} {record.main_score}"
    name = escape(record.backbone["name"])
    cells = [
        _cell(record.backbone["name"], f'<a href="#{escape(slug(record.case))}">{name}</a>'),
        _cell(record.task["id"], escape(record.task["id"])),
        _cell(score.value, escape(score_text), number=True),
        _cell(score.ci95[0], _bar(record, column)),
        _cell(expected, escape(expected_text), number=True),
        f'<td data-sort="{escape(record.verdict)}" data-verdict="{escape(record.verdict)}">{escape(mark)}</td>',
    ]
    timings = [record.timings.get(name) for name in TIMINGS]
    cells += [_cell(value, "" if value is None else f"{value:.1f}", number=True) for value in timings]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(key: str | float | None, content: str, *, number: bool = False) -> str:
    """A table cell; `content` is HTML, `key` is what the column sorts by."""
    kind = ' class="number"' if number else ""
    return f'<td{kind} data-sort="{"" if key is None else escape(str(key))}">{content}</td>'


def _bar(record: Record, column: Sequence[Record]) -> str:
    """The 95 % interval and the reference, on a scale that all records of the task share."""
    ends = [end for other in column for end in other.main.ci95]
    ends += [other.reference["value"] for other in column if other.reference and "value" in other.reference]
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def at(value: float) -> str:
        return f"{_BAR_MARGIN + (_BAR_WIDTH - 2 * _BAR_MARGIN) * (value - low) / span:.1f}"

    score, (lower, upper) = record.main, record.main.ci95
    label = f"{lower:.1f} to {upper:.1f}"
    reference = ""
    if record.reference and "value" in record.reference:
        x = at(record.reference["value"])
        label += f", reference {record.reference['value']:.1f}"
        reference = f'<line class="reference" x1="{x}" x2="{x}" y1="1" y2="15"/>'
    return (
        f'<svg role="img" aria-label="{label}" width="{_BAR_WIDTH}" height="16"><title>{label}</title>'
        f'<line class="interval" x1="{at(lower)}" x2="{at(upper)}" y1="8" y2="8"/>{reference}'
        f'<circle cx="{at(score.value)}" cy="8" r="3"/></svg>'
    )


def _recipe(record: Record) -> str:
    data = record.to_json()
    fields = [*RECIPE, "scores", "reference", "timings", "peak_memory", "samples"]
    parts = {field: flatten(data[field], field) for field in fields if data[field]}
    parts["record"] = {name: str(data[name]) for name in ("case", "key", "created", "schema_version")}
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
