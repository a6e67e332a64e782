"""What is written beside the records of a run: its page, and its tables as files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sslbench.files import write_atomic
from sslbench.names import printable
from sslbench.report import detection, masks
from sslbench.report.page import html_report
from sslbench.report.samples import Look, sample_parts
from sslbench.results.ranks import ranking, ranking_markdown
from sslbench.results.record import Record
from sslbench.results.study_tables import study_tables
from sslbench.results.tables import ordered, pivot_markdown, to_csv


def write_report(records: Iterable[Record], directory: Path, *, look: Look | None = None) -> list[Path]:
    """Write `summary.csv`, `summary.md` and `report.html` into `directory` and return their paths.

    Where records belong to the study's tables, `study.md` sets them beside the published figures. Where records have
    detections beside them, below `directory`, `detection.csv` has the scores of each class, and where they have masks
    `masks.csv` has. look: what the page takes of the data sets, by default nothing, so that none is opened.
    """
    records = ordered(records)
    folder, run, ranks = directory / "records", directory.name, ranking(records)
    classes, overlaps = detection.class_tables(records, folder), masks.mask_tables(records, folder)
    tables = {table.record.case: detection.detection_part(table, run) for table in classes}
    tables |= {table.record.case: masks.mask_part(table, run) for table in overlaps}
    shown = sample_parts(records, folder, look)
    parts = {case: "\n".join(filter(None, (tables.get(case, ""), shown[case]))) for case in shown}
    texts = {
        "summary.csv": to_csv(records),
        "summary.md": pivot_markdown(records) + ranking_markdown(ranks),
        "report.html": html_report(
            records, title="sslbench report", parts=parts, ranks=ranks, note=_note(records, look)
        ),
    }
    if study := study_tables(records):
        texts["study.md"] = study
    if classes:
        texts["detection.csv"] = detection.to_csv(classes)
    if overlaps:
        texts["masks.csv"] = masks.to_csv(overlaps)
    for name, text in texts.items():
        write_atomic(directory / name, printable(text).encode())
    return [directory / name for name in texts]


def _note(records: list[Record], look: Look | None) -> str:
    """That there are no pictures, where there could be some."""
    if (look is not None and look.pictures) or all(record.samples is None for record in records):
        return ""
    return "There are no pictures on this page; `sslbench report` puts small ones of the test data into it."
