"""A file that is not whole yet: FILE.part, and beside it where its bytes came from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sslbench.files import write_atomic


@dataclass(frozen=True)
class Origin:
    """Where a part came from.

    validator: strong ETag or Last-Modified, with which a server can tell that the file is still the same. total: bytes
    of the whole file, None where the server did not say.
    """

    url: str
    validator: str = ""
    total: int | None = None


class Part:
    """FILE.part and FILE.part.json."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self._notes = path.with_name(f"{path.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def origin(self) -> Origin | None:
        """Where the bytes came from; None where that is not known, and they are of no use."""
        try:
            notes = json.loads(self._notes.read_bytes())
            url, validator, total = notes["url"], notes["validator"], notes["total"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Origin(str(url), str(validator), total if isinstance(total, int) else None)

    def begin(self, origin: Origin) -> None:
        """Start with nothing. Raises OSError."""
        self.discard()
        self.path.touch()
        write_atomic(self._notes, json.dumps(asdict(origin)).encode())

    def discard(self) -> None:
        """Remove both files. Raises OSError."""
        # The notes first: bytes without them are never continued.
        self._notes.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self, path: Path) -> None:
        """Become the file. Raises OSError."""
        self.path.replace(path)
        self._notes.unlink(missing_ok=True)
