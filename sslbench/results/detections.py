"""The detections beside a record, read and checked."""

from __future__ import annotations

from pathlib import Path

from sslbench.errors import RecordError
from sslbench.metrics.detection_data import checked
from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.results.record import Record
from sslbench.results.samples import read_arrays

_SCORES = {"AP", "AP50", "AP75"}


def has_detections(record: Record) -> bool:
    """Whether a record tells of boxes and of samples; no file is opened."""
    return record.samples is not None and record.scores.keys() >= _SCORES


def read_detections(record: Record, folder: Path) -> DetectionSamples:
    """What was found on the test pictures. folder: where the record's file lies.

    Raises RecordError where the samples are gone, are not those that the record names, or hold no detections.
    """
    case = record.case
    arrays, path = read_arrays(record, folder)
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
