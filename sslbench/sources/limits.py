"""How much may come out of an archive before it is taken for a bomb."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sslbench.errors import ArchiveError

# The largest archives of the field hold 37 GB (SUN397) and 45 GB (ChestX-ray14) in 110,000 files; ImageNet has 1.3
# million files. Pictures are compressed already, so that theirs is a ratio near 1; lists and label files reach 20.
MAX_BYTES = 250 * 10**9
MAX_FILES = 2_000_000
MAX_RATIO = 100.0
# Below this the ratio says nothing: a few text files may well be a hundred times their archive.
HARMLESS = 64 << 20


@dataclass
class Budget:
    """What has come out so far, and what may. Each method raises ArchiveError past a limit."""

    archive: Path
    size: int
    max_bytes: int
    max_files: int
    max_ratio: float
    files: int = 0
    bytes: int = 0

    def add_file(self) -> None:
        """One more file, directory or link."""
        self.files += 1
        if self.files > self.max_files:
            raise ArchiveError(f"{self.archive} holds more than {self.max_files} files; {self._advice('max_files')}")

    def add_bytes(self, count: int) -> None:
        """Bytes that were unpacked."""
        self.bytes += count
        if self.bytes > self.max_bytes:
            raise ArchiveError(f"{self.archive} holds more than {self.max_bytes} bytes; {self._advice('max_bytes')}")
        if self.bytes > HARMLESS and self.bytes > self.max_ratio * self.size:
            raise ArchiveError(
                f"{self.archive} unpacks to more than {self.max_ratio:g} times its size; {self._advice('max_ratio')}"
            )

    def _advice(self, limit: str) -> str:
        return (
            f"this is the limit that keeps a damaged or hostile archive from filling the disk ({limit} of "
            "sslbench.sources.unpack.unpack). Remove the archive unless you trust it; then unpack it by hand"
        )
