"""Arrays of the feature cache that are written row by row, because all of them need not fit in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from sslbench.files import replacing

_TYPES = {"float32": "F32", "float16": "F16"}
_DIGITS = 32  # of the checksum


class StorageError(OSError):
    """What was computed could not be written, as against what went wrong while it was computed."""


@dataclass(frozen=True)
class Rows:
    """What comes: N rows of so many numbers, and for each whether there is one."""

    count: int
    width: int
    dtype: str


class RowWriter:
    """Takes rows in order; those that are not there are given as zeros."""

    def __init__(self, file: BinaryIO, rows: Rows) -> None:
        self._file, self._rows = file, rows
        self._present: list[npt.NDArray[np.uint8]] = []
        self._digest = hashlib.blake2b(digest_size=_DIGITS // 2)
        self._digest.update(f"|maps|{rows.dtype}|{(rows.count, rows.width)}|".encode())

    def append(self, values: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> None:
        """(B, width), and whether each of them is there (B,). Raises StorageError."""
        data = np.ascontiguousarray(values, dtype=self._rows.dtype)
        try:
            # Not tofile, whose error does not tell of a full disk.
            self._file.write(data.reshape(-1).view(np.uint8).data)
        except OSError as error:
            raise StorageError(*error.args) from error
        self._digest.update(data.reshape(-1).view(np.uint8).data)
        self._present.append(present.astype(np.uint8))

    def end(self) -> str:
        """Write what is left, and return the checksum of all. Raises ValueError for another number of rows."""
        present = np.concatenate(self._present) if self._present else np.empty(0, np.uint8)
        if len(present) != self._rows.count:
            raise ValueError(f"expected {self._rows.count} rows, got {len(present)}")
        self._file.write(present.data)
        self._digest.update(f"|present|{present.dtype}|{present.shape}|".encode())
        self._digest.update(present.data)
        return self._digest.hexdigest()


@contextmanager
def row_writer(path: Path, rows: Rows, metadata: Mapping[str, str]) -> Iterator[RowWriter]:
    """A safetensors file with `maps` (N, width) and `present` uint8 (N,), whole when the block ends well.

    metadata: of the file; `checksum` is added, as `sslbench.features.cache` computes it. Raises OSError.
    """
    with replacing(path) as temporary, temporary.open("w+b") as file:
        header = _header(rows, {**metadata, "checksum": "0" * _DIGITS})
        file.write(len(header).to_bytes(8, "little") + header)
        writer = RowWriter(file, rows)
        yield writer
        header = _header(rows, {**metadata, "checksum": writer.end()})
        file.seek(8)
        file.write(header)


def _header(rows: Rows, metadata: Mapping[str, str]) -> bytes:
    """safetensors' header: JSON filled up with spaces, so that the numbers begin at a multiple of eight."""
    size = np.dtype(rows.dtype).itemsize * rows.count * rows.width
    described = {
        "__metadata__": dict(metadata),
        "maps": {"dtype": _TYPES[rows.dtype], "shape": [rows.count, rows.width], "data_offsets": [0, size]},
        "present": {"dtype": "U8", "shape": [rows.count], "data_offsets": [size, size + rows.count]},
    }
    text = json.dumps(described).encode()
    return text + b" " * (-len(text) % 8)
