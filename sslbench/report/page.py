"""The report of a run: one HTML page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from sslbench.analyses.sheet import is_control
from sslbench.report.case_sections import case_sections
from sslbench.report.case_table import case_table
from sslbench.report.document import document, notes
from sslbench.report.score_tables import score_tables
from sslbench.report.standing import standing
from sslbench.results.marks import legends
from sslbench.results.ranks import Rank, ranking
from sslbench.results.record import Record
from sslbench.results.short_names import short_names
from sslbench.results.tables import ordered


def html_report(
    records: Iterable[Record],
    *,
    title: str,
    parts: Mapping[str, str] | None = None,
    ranks: Sequence[Rank] | None = None,
    note: str = "",
) -> str:
    """One self-contained page: what stands out, the scores, a table of all cases, and a section of each.

    parts: by case, HTML of what its samples show (`sslbench.report.samples`). ranks: of these records, where they are known.
    note: a sentence above the sections of cases. Raises RecordError where two records are of one case.
    """
    records = ordered(records)
    names = short_names(records)
    told = [*names.notes, *(legend[0].upper() + legend[1:] for legend in legends(records))]
    scores = (
        "<p>Score ± standard error. Among trained backbones the better the score of a column the stronger its colour; a column "
        "whose spread is within the noise stays pale. Controls, which know nothing of pictures, are in italics without it.</p>\n"
        f"{notes(f'{sentence}.' for sentence in told)}\n{score_tables(records, names)}"
    )
    sections = [
        ("standing", "What stands out", standing(records, names, ranking(records) if ranks is None else ranks)),
        ("scores", "Scores", scores),
        ("all-cases", "All cases", case_table(records)),
        ("cases", "Case by case", _note(note) + case_sections(records, parts or {})),
    ]
    return document(
        title, _facts(records), sections if records else [("empty", "No cases", "<p>The run holds none.</p>")]
    )


def _note(note: str) -> str:
    sentences = ["Scores, samples and recipe of each case. On paper are those that are open.", *filter(None, [note])]
    return f'<p id="cases-note">{escape(" ".join(sentences))}</p>\n'


def _facts(records: Sequence[Record]) -> str:
    backbones = {record.backbone["name"] for record in records}
    controls, tasks = sum(map(is_control, backbones)), {record.task["id"] for record in records}
    days = sorted({str(record.created)[:10] for record in records})
    counted = (
        f"{_many(len(records), 'case')}: {_many(len(backbones), 'backbone')}, of which {_many(controls, 'control')}, "
        f"on {_many(len(tasks), 'task')}."
    )
    when = f" Run {days[0]}." if len(days) == 1 else f" Run {days[0]} to {days[-1]}." if days else ""
    machines = sorted(
        {str(record.environment.get(part)) for record in records for part in ("cpu", "device")} - {"None", "cpu"}
    )
    where = f" On {', '.join(machines[:3])}{' and others' if len(machines) > 3 else ''}." if machines else ""
    return f"<p>{escape(counted + when + where)}</p>"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
