"""The detections beside a record, read and checked, and the record that a name of a case means."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from sslbench.errors import RecordError
from sslbench.metrics.detection_data import checked
from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.results.record import Record
from sslbench.results.runs import Run

_SCORES = {"AP", "AP50", "AP75"}
_NAMED = 6


def has_detections(record: Record) -> bool:
    """Whether a record tells of boxes and of samples; no file is opened."""
    return record.samples is not None and record.scores.keys() >= _SCORES


def read_detections(record: Record, folder: Path) -> DetectionSamples:
    """What was found on the test pictures. folder: where the record's file lies.

    Raises RecordError where the samples are gone, are not those that the record names, or hold no detections.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    case = record.case
    if record.samples is None:
        raise RecordError(
            f"{case}: this record has no samples (a baseline has none); take it from the run that made it"
        )
    try:
        path, digest = folder / record.samples["path"], record.samples["sha256"]
    except (KeyError, TypeError) as error:
        raise RecordError(
            f"{case}: its samples must be path and sha256, got {record.samples!r}; run the case again"
        ) from error
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{case}: its samples cannot be read: {error}; run the case again") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise RecordError(
            f"{case}: expected samples of sha256 {str(digest)[:12]}..., but {path} was changed; run the case again"
        )
    try:
        arrays = load(content)
    except SafetensorError as error:
        raise RecordError(f"{case}: expected a safetensors file, but {path} is none: {error}") from error
    if "found_boxes" not in arrays:
        raise RecordError(f"{case} has no detections; its samples hold {', '.join(sorted(arrays)) or 'nothing'}")
    try:
        samples = DetectionSamples.from_arrays(arrays)
        checked(samples.found, samples.truth, len(samples.classes))
    except ValueError as error:
        raise RecordError(f"{case}: {path}: {error}; run the case again") from error
    if samples.sizes.shape != (len(samples.rows), 2):
        raise RecordError(
            f"{case}: {path}: expected sizes ({len(samples.rows)}, 2), got {samples.sizes.shape}; run the case again"
        )
    return samples


def find_detections(run: Run, name: str) -> Record:
    """The record with detections of the case that `name` is, or that alone has it as a part.

    Raises RecordError, which names what can be shown, where there is none or more than one.
    """
    records = run.records()
    hits = [record for record in records if record.case == name] or [r for r in records if name in r.case]
    able = [record for record in hits if has_detections(record)]
    if len(able) == 1:
        return able[0]
    if able:
        raise RecordError(f"{name!r} is part of several cases of {run.directory}: {_few(able)}; give more of the name")
    told = f"{hits[0].case} has no detections" if hits else f"{name!r} is no record file and no case of {run.directory}"
    raise RecordError(f"{told}; {what_can_be_shown(records)}")


def what_can_be_shown(records: Iterable[Record]) -> str:
    """The cases with detections, for a message."""
    able = [record for record in records if has_detections(record)]
    if able:
        return f"what can be shown there: {_few(able)}"
    return "no record there has any; those of the protocol detection do"


def _few(records: list[Record]) -> str:
    more = f", and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
    return ", ".join(record.case for record in records[:_NAMED]) + more
