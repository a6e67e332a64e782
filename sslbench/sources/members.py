"""Names inside an archive, and bytes out of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from sslbench.errors import ArchiveError
from sslbench.sources.limits import Budget

CHUNK = 1 << 20


class Stream(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


def target(root: Path, name: str, archive: Path) -> Path:
    """Where the member goes below `root`. Raises ArchiveError for a name that leads elsewhere."""
    # A backslash separates on Windows, and in zip files that were made there.
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or re.match("[A-Za-z]:", name) or ".." in parts or "\0" in name:
        raise ArchiveError(f"{archive} holds the unsafe name {name!r}, which leads out of its directory; do not use it")
    return root.joinpath(*(part for part in parts if part not in ("", ".")))


def is_clutter(name: str) -> bool:
    """Whether the member is what macOS adds to a zip: resource forks under the names of the files they belong to."""
    return name.startswith("__MACOSX/")


def write(stream: Stream, path: Path, budget: Budget) -> None:
    """Copy to a file, counting. Raises ArchiveError past a limit, what the stream raises for damage, and OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        while chunk := stream.read(CHUNK):
            budget.add_bytes(len(chunk))
            file.write(chunk)
