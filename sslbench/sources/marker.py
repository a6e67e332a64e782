"""The note that an archive was unpacked, written last: what stands without it may be half of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sslbench.files import write_atomic
from sslbench.sources.source import Source


@dataclass(frozen=True)
class Marker:
    """What was unpacked.

    sha256, md5, size, modified (ns): of the archive. entries: what it holds at its top. files, bytes: how much came out.
    """

    archive: str
    sha256: str
    md5: str
    size: int
    modified: int
    entries: tuple[str, ...]
    files: int
    bytes: int

    def is_of(self, archive: Path) -> bool:
        """Whether this is the same file, by size and time, without reading it."""
        found = archive.stat()
        return (found.st_size, found.st_mtime_ns) == (self.size, self.modified)

    def fits(self, source: Source) -> bool:
        """Whether it is the declared archive, by the published digests and size."""
        return (
            self.sha256.startswith(source.sha256.lower())
            and self.md5.startswith(source.md5.lower())
            and source.size in (None, self.size)
        )

    def write(self, directory: Path) -> None:
        """Write it into the directory that was unpacked to. Raises OSError."""
        write_atomic(marker_path(directory, self.archive), json.dumps(asdict(self), indent=1).encode())


def marker_path(directory: Path, archive: str) -> Path:
    """Where the marker of an archive is: one for each, because several may share a directory."""
    return directory / f".{archive}.complete"


def read_marker(directory: Path, archive: str) -> Marker | None:
    """The marker, unless it is absent, unreadable, or something of what it names at the top is gone."""
    try:
        fields = json.loads(marker_path(directory, archive).read_bytes())
        marker = Marker(**{**fields, "entries": tuple(fields["entries"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return marker if all((directory / entry).exists() for entry in marker.entries) else None
