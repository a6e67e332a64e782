"""The file of pictures at their own size: their planar bytes one after the other, an index of all of them, and a footer."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SUFFIX = ".pictures"
ENTRY = np.dtype(
    [("offset", "<u8"), *((name, "<u4") for name in ("height", "width", "full_height", "full_width", "check"))]
)
"""Where a picture (3, height, width) begins, its size before it was reduced, and the CRC-32 of its bytes; sizes are 0 where it
could not be read."""
_FOOTER = np.dtype([("count", "<u8"), ("bytes", "<u8"), ("check", "<u4"), ("format", "S20")])
FORMAT = b"sslbench-originals-2"


@dataclass(frozen=True)
class OriginalFile:
    """A file that is open.

    index: `ENTRY` (N,). content: uint8, the whole file, mapped and not to be written to.
    """

    index: npt.NDArray[Any]
    content: npt.NDArray[np.uint8]

    def picture(self, row: int) -> npt.NDArray[np.uint8]:
        """uint8 (3, height, width), a view; not checked."""
        entry = self.index[row]
        height, width, offset = int(entry["height"]), int(entry["width"]), int(entry["offset"])
        return self.content[offset : offset + 3 * height * width].reshape(3, height, width)

    def is_sound(self, row: int) -> bool:
        """Whether a picture is what was written; reads all of it."""
        return checksum(self.picture(row)) == int(self.index[row]["check"])


def checksum(picture: npt.NDArray[np.uint8]) -> int:
    """What a sound picture has in `check`."""
    return zlib.crc32(np.ascontiguousarray(picture).data)


def ending(index: npt.NDArray[Any]) -> bytes:
    """What stands after the pictures: the index and the footer."""
    content = index.tobytes()
    footer = np.array([(len(index), _bytes(index), zlib.crc32(content), FORMAT)], dtype=_FOOTER)
    return content + footer.tobytes()


def open_originals_file(path: Path) -> OriginalFile:
    """ValueError or OSError for a file that is not one, or not whole; the pictures themselves are not looked at."""
    content: npt.NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
    if len(content) < _FOOTER.itemsize:
        raise ValueError(f"expected a footer of {_FOOTER.itemsize} bytes, got {len(content)} in all")
    footer = content[-_FOOTER.itemsize :].view(_FOOTER)[0]
    count, data = int(footer["count"]), int(footer["bytes"])
    if footer["format"] != FORMAT or len(content) != data + count * ENTRY.itemsize + _FOOTER.itemsize:
        raise ValueError("its footer is not that of a whole file of pictures")
    # A copy, as entries need not begin where the processor reads numbers from.
    entries = content[data : len(content) - _FOOTER.itemsize].tobytes()
    if zlib.crc32(entries) != footer["check"]:
        raise ValueError("the checksum of its index does not match")
    return OriginalFile(np.frombuffer(entries, dtype=ENTRY), content)


def problem(path: Path) -> str | None:
    """What is wrong with a file, or None; reads all of it."""
    try:
        file = open_originals_file(path)
        damaged = next((row for row in range(len(file.index)) if not file.is_sound(row)), None)
    except (OSError, ValueError) as error:
        return str(error)
    return None if damaged is None else f"the checksum of picture {damaged} does not match"


def _bytes(index: npt.NDArray[Any]) -> int:
    return int((3 * index["height"].astype(np.int64) * index["width"]).sum())
