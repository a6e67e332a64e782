"""The arrays beside a record, read and checked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sslbench.errors import RecordError
from sslbench.results.record import Record


def read_arrays(record: Record, folder: Path) -> tuple[dict[str, NDArray[Any]], Path]:
    """The arrays by name, and the file that holds them. folder: where the record's file lies.

    Raises RecordError where there are none, or not those that the record names.
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
        return load(content), path
    except SafetensorError as error:
        raise RecordError(f"{case}: expected a safetensors file, but {path} is none: {error}") from error
