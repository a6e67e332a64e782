"""The file of kept pictures: one `.npy` of records, each a checksum, whether the picture could be read, and its pixels."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def record_type(size: tuple[int, int]) -> np.dtype[Any]:
    """The type of a record with pixels of size (H, W)."""
    return np.dtype([("check", "<u4"), ("present", "?"), ("pixels", "u1", (*size, 3))])


def checksum(record: Any) -> int:
    """What a sound record has in `check`."""
    # Started from another value for an absent picture, so that the flag is covered too.
    return zlib.crc32(record["pixels"], 1 + int(record["present"]))


def open_records(path: Path) -> npt.NDArray[Any]:
    """The records of a file (N,), mapped; ValueError, EOFError or OSError for a file that is not one."""
    records: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    shape = records.dtype["pixels"].shape if "pixels" in (records.dtype.names or ()) else ()
    if len(shape) != 3 or records.dtype != record_type(shape[:2]) or records.ndim != 1:
        raise ValueError(f"expected records of pictures, got {records.shape} of {records.dtype}")
    return records


def problem(path: Path) -> str | None:
    """What is wrong with a file, or None; reads all of it."""
    try:
        records = open_records(path)
        damaged = next((row for row, record in enumerate(records) if record["check"] != checksum(record)), None)
    except (OSError, ValueError, EOFError) as error:
        return str(error)
    return None if damaged is None else f"the checksum of picture {damaged} does not match"
