"""The calibration tables of docs/zoo.md, from the committed baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sslbench.errors import RecordError
from sslbench.metrics import Score
from sslbench.results.markdown import table
from sslbench.results.ranks import rank_ranges, span
from sslbench.results.record import Record, by_task
from sslbench.results.tables import natural

PROTOCOLS = ("linear", "knn", "finetune")
ERROR, SCALED = "ece", "ece_scaled"


def calibration(records: Sequence[Record]) -> str:
    """A table a protocol, those that were run: expected calibration error in % with 95 % interval and rank range.

    Backbones are in the order of the mean over the tasks, the smallest first; the mean at the temperatures of the study's folds
    is beside it. Raises RecordError where no record has the error.
    """
    found = [record for record in records if ERROR in record.scores]
    if not found:
        raise RecordError(f"no record has the score {ERROR!r}; make the baseline again with --sslbench-save-baseline")
    columns = by_task(found)
    parts = []
    for protocol in PROTOCOLS:
        tasks = sorted((task for task in columns if task.startswith(f"{protocol}/")), key=natural)
        if tasks:
            parts.append(f"`{protocol}`:\n\n{_table(protocol, {task: columns[task] for task in tasks})}")
    return "\n\n".join(parts)


def _table(protocol: str, columns: dict[str, list[Record]]) -> str:
    cells = {task: _cells(column) for task, column in columns.items()}
    means = {score: _means(columns, score) for score in (ERROR, SCALED)}
    names = {record.backbone["name"] for column in columns.values() for record in column}
    order = sorted(names, key=lambda name: (means[ERROR].get(name, math.inf), name))
    rows = [
        [
            f"`{name}`",
            *(cells[task].get(name, "–") for task in columns),
            *(f"{mean[name]:.1f}" if name in mean else "–" for mean in means.values()),
        ]
        for name in order
    ]
    return table(["backbone", *(task.removeprefix(f"{protocol}/") for task in columns), "mean", "mean, scaled"], rows)


def _cells(column: Sequence[Record]) -> dict[str, str]:
    ranges = rank_ranges(column, score=ERROR)
    cells = {}
    for record in column:
        name, error = record.backbone["name"], Score.from_json(record.scores[ERROR])
        low, high = error.ci95
        cells[name] = f"{error.value:.1f} [{low:.1f}, {high:.1f}] ({span(*ranges[name])})"
    return cells


def _means(columns: dict[str, list[Record]], score: str) -> dict[str, float]:
    """By backbone, of those that have the score on every task."""
    values: dict[str, list[float]] = {}
    for column in columns.values():
        for record in column:
            if score in record.scores:
                values.setdefault(record.backbone["name"], []).append(Score.from_json(record.scores[score]).value)
    return {name: math.fsum(row) / len(row) for name, row in values.items() if len(row) == len(columns)}
