"""The maps and confusion matrices beside a record of dense prediction, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.errors import RecordError
from sslbench.metrics.angles import Angles
from sslbench.metrics.dense_kept import DenseSamples
from sslbench.metrics.depth_errors import DepthErrors
from sslbench.metrics.overlap import Overlap, confusion_of
from sslbench.results.record import Record
from sslbench.results.samples import read_arrays

_MAINS = {Overlap.main, Angles.main, DepthErrors.main}


def has_maps(record: Record) -> bool:
    """Whether a record tells of maps and of samples; no file is opened."""
    return record.samples is not None and record.main_score in _MAINS


def has_masks(record: Record) -> bool:
    """Whether a record tells of masks and of samples; no file is opened."""
    return record.samples is not None and record.main_score == Overlap.main


def read_maps(record: Record, folder: Path) -> DenseSamples:
    """What was kept of the test pictures' maps. folder: where the record's file lies.

    Raises RecordError where the samples are gone, are not those that the record names, or hold no maps.
    """
    return _maps(record, *read_arrays(record, folder))


def read_confusion(record: Record, folder: Path) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names of the classes, and the confusion matrix (K, K) of all test pictures: true classes down, predicted ones across.

    Raises RecordError as `read_maps`, or where there is no matrix.
    """
    arrays, path = read_arrays(record, folder)
    classes = _maps(record, arrays, path).classes
    try:
        return classes, confusion_of(arrays, len(classes))
    except ValueError as error:
        raise RecordError(f"{record.case}: {path}: {error}; run the case again") from error


def _maps(record: Record, arrays: Mapping[str, NDArray[Any]], path: Path) -> DenseSamples:
    if "maps_about" not in arrays:
        raise RecordError(f"{record.case} has no maps; its samples hold {', '.join(sorted(arrays)) or 'nothing'}")
    try:
        return DenseSamples.from_arrays(arrays)
    except ValueError as error:
        raise RecordError(f"{record.case}: {path}: {error}; run the case again") from error
