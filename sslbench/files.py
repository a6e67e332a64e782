"""Files that are either the old version or the whole new one, whatever interrupts the writer."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomic(path: Path, data: bytes) -> None:
    """Write through a temporary file beside `path` (suffix `.tmp`) and a rename. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are readable by their owner only, and caches and results are shared between users.
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
