"""Calibration errors of the embedded suite's linear probes: they need decisions, which a baseline does not hold.

So they are a committed file of their own, which says of what case and score each error is, and must agree with the baseline.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sslbench.errors import RecordError
from sslbench.files import write_atomic
from sslbench.results.record import Record, dump
from sslbench.results.references import FLOOR, STANDARD_ERRORS
from sslbench.results.runs import Run

BINS = 15
_INGREDIENTS = ("version", "fingerprint", "compat")

Errors = Mapping[str, Mapping[str, Any]]


def measure(run: Run, records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Expected calibration error (%, without temperature scaling) of each linear case, by case.

    run: holds the samples of these records. Raises RecordError when it lacks some.
    """
    from safetensors.torch import load_file
    from torchmetrics.functional.classification import multiclass_calibration_error

    ran = {record.case: record for record in run.records()}
    found = {}
    for record in _linear(records):
        measured = ran.get(record.case)
        if measured is None or not run.samples_sound(measured):
            raise RecordError(
                f"{run.directory} holds no samples of {record.case}; run `python -m pytest benchmarks` first"
            )
        samples = load_file(run.directory / "records" / measured.samples["path"])
        # Below 1: torchmetrics puts a confidence of exactly 1 into a bin of its own.
        probabilities = samples["decision"].double().softmax(dim=1).clamp(max=1 - 1e-7)
        error = multiclass_calibration_error(probabilities, samples["targets"], probabilities.shape[1], n_bins=BINS)
        found[record.case] = {
            **{name: measured.task[name] for name in _INGREDIENTS},
            "score": measured.main.value,
            "error": round(100 * float(error), 2),
        }
    return found


def disagreements(errors: Errors, records: Sequence[Record]) -> list[str]:
    """What the errors are of that the baseline is not: a line each, none where they agree.

    Scores may differ by what the project allows between machines, and the digests of untrained networks as well.
    """
    told = []
    for record in _linear(records):
        known = errors.get(record.case)
        if known is None:
            told.append(f"{record.case}: no calibration error")
        elif any(known[name] != record.task[name] for name in _INGREDIENTS):
            told.append(
                f"{record.case}: its calibration error is of another version, other data or another compat choice"
            )
        elif abs(known["score"] - record.main.value) > max(FLOOR, STANDARD_ERRORS * record.main.stderr):
            told.append(f"{record.case}: its calibration error is of a score of {known['score']:.2f}")
    return told


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The committed errors; nothing when there are none yet."""
    errors: dict[str, dict[str, Any]] = json.loads(path.read_bytes()) if path.exists() else {}
    return errors


def write(errors: Errors, path: Path) -> None:
    """Commit them."""
    write_atomic(path, dump(errors))


def _linear(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.task["protocol"] == "linear"]
