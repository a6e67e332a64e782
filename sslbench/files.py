"""Files that are either the old version or the whole new one, whatever interrupts the writer; their ends; how sizes are told."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` (suffix `.tmp`) to write to; it replaces `path` when the block ends well.

    Whatever ends the block otherwise removes it. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are readable by their owner only, and caches and results are shared between users.
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, data: bytes) -> None:
    """Write the whole content at once, through `replacing`. Raises OSError."""
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.write(data)


def is_there(path: Path) -> bool:
    """Whether a file or folder is there; not where the system takes no such name, of which `Path.exists` raises OSError."""
    with contextlib.suppress(OSError, ValueError):
        return path.exists()
    return False


def read_end(path: Path, size: int = 8192) -> str:
    """The text of the last `size` bytes of a file. Raises OSError."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - size))
        return file.read().decode(errors="replace")


def size_text(size: int | None) -> str:
    """Bytes in decimal units, as download pages give them."""
    if size is None:
        return "size unknown"
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} bytes"
