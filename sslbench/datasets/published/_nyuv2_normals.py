"""Ladický's normals of NYU Depth v2: out of a gzipped pickle of gigabytes, once, into a file that is read by the row."""

from __future__ import annotations

import gzip
import pickle
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from sslbench.datasets.formats import AGAIN
from sslbench.datasets.published._kept import kept_array
from sslbench.errors import DataError, IncompleteDataError, tell
from sslbench.unpickling import RestrictedUnpickler, numpy_arrays

# From the axes of the file to x right, y up, z towards the camera, if the file has them as cameras do: x right, y down, z into
# the scene. Not yet verified on the real file; no score depends on it, since angles between normals do not.
FILE_AXES = (1, -1, -1)
# Fixed point of 16 bits: off by 0.002 degrees at most. float16, as large, would be off by 0.03, and 8 bits by 0.4.
SCALE = 32767
_KEYS = ("all_normals", "all_valid_depth_masks", "all_filenames")
# A unit vector is as long as this, whatever it was rounded to on its way.
_LENGTHS = (0.9, 1.1)
_DAMAGE = (
    pickle.UnpicklingError, EOFError, OSError, zlib.error, ValueError, TypeError, AttributeError, LookupError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True)
class NormalMaps:
    """Reads one of the maps. path: the pickle. bytes: its size. shape: number of pictures, height and width.

    The first map that is read makes the file of our own beside the pickle, which takes minutes and about 11 GB of memory.
    """

    path: Path
    bytes: int
    shape: tuple[int, int, int]

    def __call__(self, row: int) -> npt.NDArray[np.float32]:
        """float32 (H, W, 3) of unit length, 0 where there is none."""
        return decode(_mapped(self)[row])


def encode(vectors: npt.NDArray[Any], valid: npt.NDArray[np.bool_], where: str) -> npt.NDArray[np.int16]:
    """int16 (H, W, 3) in our axes, 0 where `valid` (H, W) is not or the vector is 0, which has no direction.

    Raises DataError, which begins with `where`, for others that are not of unit length.
    """
    lengths = np.linalg.norm(np.where(valid[..., None], vectors, 0).astype(np.float64), axis=-1)
    there = lengths != 0
    odd = there & ~((lengths >= _LENGTHS[0]) & (lengths <= _LENGTHS[1]))
    if odd.any():
        raise DataError(f"{where}: expected normals of unit length, got {np.count_nonzero(odd)} others; {AGAIN}")
    unit = np.zeros((*lengths.shape, 3))
    unit[there] = vectors[there] / lengths[there, None] * np.array(FILE_AXES)
    codes: npt.NDArray[np.int16] = np.rint(unit * SCALE).astype(np.int16)
    return codes


def decode(codes: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Unit vectors float32 of what `encode` gave."""
    unit = codes.astype(np.float32)
    lengths = np.sqrt(np.einsum("hwc,hwc->hw", unit, unit))
    unit /= np.maximum(lengths, 1)[..., None]
    return unit


@lru_cache(maxsize=4)
def _mapped(maps: NormalMaps) -> npt.NDArray[Any]:
    return kept_array(maps.path, "", maps.bytes, (*maps.shape, 3), "<i2", partial(_codes, maps))


def _codes(maps: NormalMaps) -> Iterator[npt.NDArray[np.int16]]:
    content = _read(maps.path)
    normals, valid = content["all_normals"], content["all_valid_depth_masks"]
    position = _positions(maps.path, content["all_filenames"], maps.shape[0])
    for name, values in (("all_normals", normals), ("all_valid_depth_masks", valid)):
        if not isinstance(values, np.ndarray | list) or len(values) != maps.shape[0]:
            raise DataError(f"{maps.path}: expected {maps.shape[0]} maps in {name}, one a picture; {AGAIN}")
    facing = total = 0
    for picture, row in enumerate(position):
        where = f"{maps.path}, picture {picture + 1}"
        vectors = _map(where, "all_normals", normals[row], (*maps.shape[1:], 3))
        mask = _map(where, "all_valid_depth_masks", valid[row], maps.shape[1:]) > 0
        codes = encode(vectors, mask, where)
        facing += int(np.count_nonzero(codes[..., 2] > 0))
        total += int(np.count_nonzero(codes.any(axis=-1)))
        yield codes
    if facing < total / 2:
        tell(
            f"{maps.path}: {total - facing} of {total} normals face away from the camera, so that the file's axes are not those "
            "assumed (x right, y down, z into the scene); scores do not depend on it, pictures of normals do"
        )


def _map(where: str, name: str, values: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    found = np.asarray(values)
    if found.shape != shape or found.dtype.kind not in "fiub":
        raise DataError(f"{where}: expected {name} to be numbers {shape}, got {found.dtype} {found.shape}; {AGAIN}")
    return found


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with gzip.open(path, "rb") as stream:
            file = cast(IO[bytes], stream)
            # As Python 2 wrote strings.
            content: Any = RestrictedUnpickler(file, numpy_arrays, encoding="latin1").load()
            # The checksum is at the end.
            while file.read(1 << 20):
                pass
    except MemoryError as error:
        raise DataError(
            f"cannot read {path}: too little memory; the published file takes about 11 GB once, and another file that takes more "
            "is not it"
        ) from error
    except _DAMAGE as error:
        raise IncompleteDataError(
            f"cannot read {path}: {type(error).__name__}: {error}; {AGAIN}", [path.name], found=True
        ) from error
    absent = [key for key in _KEYS if not isinstance(content, dict) or key not in content]
    if absent:
        raise DataError(
            f"{path}: expected a dict with {', '.join(_KEYS)}, and {', '.join(absent)} is not there; {AGAIN}"
        )
    maps: Mapping[str, Any] = content
    return maps


def _positions(path: Path, names: Any, count: int) -> list[int]:
    """For each picture its row in the pickle."""
    given = [str(name) for name in names] if isinstance(names, list | tuple | np.ndarray) else []
    wanted = [f"{number:06d}" for number in range(1, count + 1)]
    if sorted(given) != wanted:
        few = ", ".join(given[:3])
        raise DataError(f"{path}: expected all_filenames 000001 to {count:06d}, got {len(given)}: {few}; {AGAIN}")
    row = {name: number for number, name in enumerate(given)}
    return [row[name] for name in wanted]
