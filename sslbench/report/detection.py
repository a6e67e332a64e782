"""Detection in the section of a case: each class's average precision, its curve, and the same as CSV."""

from __future__ import annotations

import csv
import io
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sslbench.errors import RecordError
from sslbench.metrics.detection_outcomes import ClassScores, class_scores
from sslbench.report import document
from sslbench.report.document import head, scrolled
from sslbench.results.detections import has_detections, read_detections
from sslbench.results.record import Record

# A curve is as wide as it has points, so that no page grows with the number of detections.
_WIDTH, _HEIGHT = 120, 40
_COLUMNS = ("case", "class", "ap", "ap50", "ap75", "ap_coco", "objects")


@dataclass(frozen=True)
class ClassTable:
    """What the report says of one record: `scores` of `classes`, or `problem`, why they cannot be told."""

    record: Record
    classes: tuple[str, ...] = ()
    scores: ClassScores | None = None
    problem: str = ""


def class_tables(records: Iterable[Record], folder: Path) -> list[ClassTable]:
    """One of each record with detections. folder: where the records' files lie.

    Nothing is read for other records. Under a second each, for 4,952 pictures with a hundred detections of 20 classes.
    """
    return [_class_table(record, folder) for record in records if has_detections(record)]


def _class_table(record: Record, folder: Path) -> ClassTable:
    try:
        samples = read_detections(record, folder)
    except RecordError as error:
        # The rest of the report does not need these files; what is missing is told in their place.
        return ClassTable(record, problem=str(error))
    scores = class_scores(samples.found, samples.truth, len(samples.classes))
    return ClassTable(record, tuple(samples.classes), scores)


def to_csv(tables: Iterable[ClassTable]) -> str:
    """A row for each case and class, in percent; what is not defined is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for table in tables:
        if table.scores is not None:
            columns = [getattr(table.scores, name).tolist() for name in _COLUMNS[2:]]
            for name, *values in zip(table.classes, *columns, strict=True):
                writer.writerow([table.record.case, name, *("" if math.isnan(value) else value for value in values)])
    return text.getvalue()


def detection_part(table: ClassTable, run: str = "") -> str:
    """HTML of one table. run: the name by which `sslbench show` finds the run."""
    if table.scores is None:
        return f"<h3>Each class</h3>\n<p>{escape(table.problem)}</p>"
    command = shlex.join(["sslbench", "show", table.record.case, *(["--run", run] if run else [])])
    heads = (
        head("Class") + "".join(head(text, number=True) for text in ("Objects", "AP50", "AP75", "AP")) + head("Curve")
    )
    body = document.table(heads, list(_rows(table.classes, table.scores)), kind="pinned")
    return (
        "<h3>Each class</h3>\n<p>Average precision in percent, by VOC's rule: AP is the mean of ten overlaps from .50 to .95. "
        "Objects: those that count, difficult ones aside. Curve: precision (up) over recall (right) at overlap .50, at each "
        "recall the largest precision at that recall or a higher one. Its best and worst pictures: "
        f"<code>{escape(command)}</code></p>\n{scrolled(body, 'Average precision of each class')}"
    )


def _rows(classes: tuple[str, ...], scores: ClassScores) -> Iterator[str]:
    values: Mapping[str, NDArray[np.float64]] = {"ap50": scores.ap50, "ap75": scores.ap75, "ap": scores.ap}
    for label, name in enumerate(classes):
        cells = [str(scores.objects[label])]
        cells += ["–" if math.isnan(column[label]) else f"{column[label]:.1f}" for column in values.values()]
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        yield f'<tr><th scope="row">{escape(name)}</th>{numbers}<td>{_plot(scores, label, name)}</td></tr>'


def _plot(scores: ClassScores, label: int, name: str) -> str:
    curve = scores.curves[label]
    if curve is None:
        return "no object that counts"
    recall, heights = curve[0], envelope(*curve)
    told = f"{name}: recall up to {recall[-1]:.2f}" if len(recall) else f"{name}: no detection"
    steps = "".join(f"V{_HEIGHT * (1 - height):.1f}H{x + 1}" for x, height in enumerate(heights.tolist()) if height)
    line = f'<path class="curve" d="M0,{_HEIGHT}{steps}V{_HEIGHT}"/>' if steps else ""
    return (
        f'<svg role="img" aria-label="{escape(told)}" width="{_WIDTH + 2}" height="{_HEIGHT + 2}" '
        f'viewBox="-1 -1 {_WIDTH + 2} {_HEIGHT + 2}"><title>{escape(told)}</title>'
        f'<rect class="frame-line" width="{_WIDTH}" height="{_HEIGHT}"/>{line}</svg>'
    )


def envelope(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest precision at a recall above x / 120, for each column x of a plot (120,); 0 beyond the curve."""
    largest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    reached: NDArray[np.float64] = largest[np.searchsorted(recall, np.arange(_WIDTH) / _WIDTH, side="right")]
    return reached
