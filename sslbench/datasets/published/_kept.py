"""Arrays of a file of our own beside a published one that takes long to read, made once and then mapped into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from sslbench.errors import DataError
from sslbench.files import replacing

# Raised when a file means something else.
VERSION = 1


def kept_array(
    source: Path,
    name: str,
    size: int,
    shape: tuple[int, ...],
    dtype: str,
    parts: Callable[[], Iterable[npt.NDArray[Any]]],
) -> npt.NDArray[Any]:
    """The array, read-only; the first call makes its file, under a temporary name, from the parts in their order.

    source: what it is made of, with its size in bytes, so that another source has another file. dtype: as in `<i2`. Raises
    DataError where the file cannot be made or read, or is another one.
    """
    kept = source.with_name(f"{source.name.partition('.')[0]}-{size}-{name}{VERSION}.npy")
    try:
        if not kept.is_file():
            # Of two processes, the other one would take the time and the memory again.
            with FileLock(kept.with_name(f".{kept.name}.lock")):
                if not kept.is_file():
                    _make(kept, shape, dtype, parts)
        found: npt.NDArray[Any] = np.load(kept, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        room = np.prod(shape, dtype=np.int64) * np.dtype(dtype).itemsize / 1e9
        raise DataError(
            f"cannot keep or read {kept}: {error}. It is made of {source.name} and may be removed; its folder has to be writable "
            f"once, with {room:.1f} GB free"
        ) from error
    if found.shape != shape or found.dtype != np.dtype(dtype):
        raise DataError(
            f"{kept}: expected {dtype} {shape}, got {found.dtype} {found.shape}; remove it, and it is made again"
        )
    return found


def _make(kept: Path, shape: tuple[int, ...], dtype: str, parts: Callable[[], Iterable[npt.NDArray[Any]]]) -> None:
    with replacing(kept) as temporary, temporary.open("xb") as file:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        # Written, not mapped: writing to a map on a full disk ends the process.
        for part in parts():
            file.write(np.ascontiguousarray(part, dtype=dtype).data)
