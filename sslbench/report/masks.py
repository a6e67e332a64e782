"""Masks in the section of a case: the overlap of each class, what it is taken for, and the same as CSV."""

from __future__ import annotations

import csv
import io
import math
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sslbench.errors import RecordError
from sslbench.metrics.overlap import class_overlaps
from sslbench.report import document
from sslbench.report.document import head, scrolled
from sslbench.results.dense_maps import has_masks, read_confusion
from sslbench.results.record import Record

_COLUMNS = ("case", "class", "iou", "recall", "precision", "pixels")
_NAMED = 3


@dataclass(frozen=True)
class MaskTable:
    """What the report says of one record: the confusion matrix (K, K) of `classes`, true ones down and predicted ones across, or
    `problem`, why it cannot be told.
    """

    record: Record
    classes: tuple[str, ...] = ()
    confusion: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    problem: str = ""


@dataclass(frozen=True)
class ClassRow:
    """One class, in percent, nan where nothing can be divided. iou: overlap. recall: right ones of its true pixels. precision:
    right ones of those predicted. pixels: true ones. taken: other classes that its pixels were taken for, those with the most
    pixels first, with their part of its pixels.
    """

    name: str
    iou: float
    recall: float
    precision: float
    pixels: int
    taken: tuple[tuple[str, float], ...]


def mask_tables(records: Iterable[Record], folder: Path) -> list[MaskTable]:
    """One of each record with masks. folder: where the records' files lie. Nothing is read for other records."""
    return [_table(record, folder) for record in records if has_masks(record)]


def _table(record: Record, folder: Path) -> MaskTable:
    try:
        return MaskTable(record, *read_confusion(record, folder))
    except RecordError as error:
        # The rest of the report does not need these files; what is missing is told in their place.
        return MaskTable(record, problem=str(error))


def class_rows(classes: tuple[str, ...], confusion: NDArray[np.int64]) -> list[ClassRow]:
    """The lowest overlap first, among equals the order of the classes; those that do not occur at the end."""
    overlaps, true, found = class_overlaps(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    rows = []
    for k in np.argsort(overlaps, kind="stable").tolist():
        right, others = int(confusion[k, k]), confusion[k].copy()
        others[k] = 0
        most = np.argsort(-others, kind="stable")[:_NAMED]
        taken = tuple((classes[other], 100 * others[other] / true[k]) for other in most.tolist() if others[other])
        recall, precision = (100 * right / int(total[k]) if total[k] else math.nan for total in (true, found))
        rows.append(ClassRow(classes[k], 100 * float(overlaps[k]), recall, precision, int(true[k]), taken))
    return rows


def to_csv(tables: Iterable[MaskTable]) -> str:
    """A row for each case and class, the lowest overlap first, in percent; what is not defined is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for table in tables:
        for row in class_rows(table.classes, table.confusion):
            values = ("" if math.isnan(value) else value for value in (row.iou, row.recall, row.precision))
            writer.writerow([table.record.case, row.name, *values, row.pixels])
    return text.getvalue()


def mask_part(table: MaskTable, run: str = "") -> str:
    """HTML of one table. run: the name by which `sslbench show` finds the run."""
    if table.problem:
        return f"<h3>Each class</h3>\n<p>{escape(table.problem)}</p>"
    command = shlex.join(["sslbench", "show", table.record.case, *(["--run", run] if run else [])])
    heads = "".join(head(text, number=True) for text in ("IoU", "Recall", "Precision", "Pixels"))
    body = document.table(head("Class") + heads + head("Taken for"), list(_rows(table)), kind="pinned")
    return (
        "<h3>Each class</h3>\n<p>Overlap (IoU) in percent over all pixels that count of the test pictures, the lowest first. "
        "Recall: right ones among the true pixels of a class; precision: right ones among those predicted. Taken for: the "
        "classes that most of its pixels were taken for, with their part of them. Its best and worst pictures: "
        f"<code>{escape(command)}</code></p>\n{scrolled(body, 'Overlap of each class')}"
    )


def _rows(table: MaskTable) -> Iterator[str]:
    for row in class_rows(table.classes, table.confusion):
        values = ["–" if math.isnan(value) else f"{value:.1f}" for value in (row.iou, row.recall, row.precision)]
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in (*values, f"{row.pixels:,}"))
        taken = ", ".join(f"{name} {part:.1f} %" for name, part in row.taken) or "–"
        yield f'<tr><th scope="row">{escape(row.name)}</th>{numbers}<td>{escape(taken)}</td></tr>'
