"""Which records have pictures to be shown, and the one that a name of a case means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sslbench.errors import RecordError
from sslbench.metrics.dense_kept import DenseSamples
from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.results.dense_maps import has_maps, read_maps
from sslbench.results.detections import has_detections, read_detections
from sslbench.results.record import Record
from sslbench.results.runs import Run

_NAMED = 6


def can_be_shown(record: Record) -> bool:
    """Whether a record tells of detections or maps beside it; no file is opened."""
    return has_detections(record) or has_maps(record)


def read_shown(record: Record, folder: Path) -> DetectionSamples | DenseSamples:
    """The detections or maps beside a record. folder: where the record's file lies.

    Raises RecordError as `read_detections` and `read_maps`.
    """
    return read_maps(record, folder) if has_maps(record) else read_detections(record, folder)


def find_shown(run: Run, name: str) -> Record:
    """The record with something to show of the case that `name` is, or that alone has it as a part.

    Raises RecordError, which names what can be shown, where there is none or more than one.
    """
    records = run.records()
    hits = [record for record in records if record.case == name] or [r for r in records if name in r.case]
    able = [record for record in hits if can_be_shown(record)]
    if len(able) == 1:
        return able[0]
    if able:
        raise RecordError(f"{name!r} is part of several cases of {run.place}: {_few(able)}; give more of the name")
    told = nothing_to_show(hits[0]) if hits else f"{name!r} is no record file and no case of {run.place}"
    raise RecordError(f"{told}; {what_can_be_shown(records)}")


def nothing_to_show(record: Record) -> str:
    """That a record cannot be shown, for a message."""
    return f"{record.case} has neither detections nor maps"


def what_can_be_shown(records: Iterable[Record]) -> str:
    """The cases with something to show, for a message."""
    able = [record for record in records if can_be_shown(record)]
    if able:
        return f"what can be shown there: {_few(able)}"
    return "no record there has detections or maps; those of detection and of dense prediction do"


def _few(records: list[Record]) -> str:
    more = f", and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
    return ", ".join(record.case for record in records[:_NAMED]) + more
