"""MATLAB 7.3 files, which are HDF5, read by h5py; whatever is wrong with one is one error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sslbench.datasets.formats import AGAIN
from sslbench.errors import DataError, IncompleteDataError


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The open file, for reading only, and for one use: a handle is good for nothing in a forked process.

    Raises DataError without h5py, IncompleteDataError for a file that is cut short, damaged or of another format.
    """
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            f"{path} is a MATLAB 7.3 file, and h5py, which reads those, is not installed: pip install h5py, or sslbench[nyuv2]"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise IncompleteDataError(f"cannot read {path}: {error}; {AGAIN}", [path.name], found=True) from error


def checked(file: Any, path: Path, name: str, shape: tuple[int | None, ...], kinds: str) -> Any:
    """A dataset of the file whose shape agrees, None standing for any length; kinds: NumPy's letters of the type.

    Raises DataError.
    """
    if name not in file:
        raise DataError(f"{path}: expected {name}, found {', '.join(sorted(file))}; {AGAIN}")
    data = file[name]
    found, kind = getattr(data, "shape", ()), getattr(getattr(data, "dtype", None), "kind", "")
    fits = len(found) == len(shape) and all(wanted in (None, side) for wanted, side in zip(shape, found, strict=True))
    if not (fits and kind and kind in kinds):
        wanted = ", ".join("any" if side is None else str(side) for side in shape)
        raise DataError(
            f"{path}: expected {name} of shape ({wanted}) and kind {kinds}, got {found} and {kind!r}; {AGAIN}"
        )
    return data
