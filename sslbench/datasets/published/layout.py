"""Where a dataset's files may lie: the official layout, torchvision's, a mirror's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslbench.errors import IncompleteDataError


class Disk:
    """Remembers what directories hold: one listing is far cheaper than a question for each of 100,000 files."""

    def __init__(self) -> None:
        self._listed: dict[str, Mapping[str, int]] = {}

    def files(self, directory: str | Path) -> Mapping[str, int]:
        """Size in bytes of each file in a directory; empty for a directory that is not there."""
        key = os.fspath(directory)
        if key not in self._listed:
            self._listed[key] = _list(key)
        return self._listed[key]

    def size(self, path: str) -> int:
        """Size of one file in bytes, its path with `/`; 0 where it is absent or empty, which no picture is."""
        directory, _, name = path.rpartition("/")
        return self.files(directory).get(name, 0)


def bytes_below(path: Path) -> int:
    """Total size of a file, or of every file below a directory."""
    if path.is_file():
        return path.stat().st_size
    return sum(sum(_list(directory).values()) for directory, _, _ in os.walk(path))


def _list(directory: str) -> Mapping[str, int]:
    try:
        with os.scandir(directory) as entries:
            # A dangling link is no file.
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return {}


@dataclass(frozen=True)
class Layout:
    """One arrangement of a dataset's files.

    base: a directory below the data directory. parts: what must be there, each a path below base; `*` stands for any
    number of directories, of which there must be one.
    """

    name: str
    base: str
    parts: Mapping[str, str]


def layouts(bases: Mapping[str, str | Sequence[str]], **parts: str) -> tuple[Layout, ...]:
    """The same parts below several bases, which are given by the layout's name."""
    pairs = [(name, base) for name, given in bases.items() for base in ([given] if isinstance(given, str) else given)]
    return tuple(Layout(name, base, parts) for name, base in pairs)


class Found:
    """A layout looked for on disk."""

    def __init__(self, layout: Layout, data_dir: Path) -> None:
        self.layout = layout
        self.base = data_dir / layout.base
        self.disk = Disk()

    def paths(self, part: str) -> list[Path]:
        """Existing paths of a part, sorted; several only where its path has a `*`."""
        pattern = self.layout.parts[part]
        if "*" in pattern:
            return sorted(self.base.glob(pattern))
        path = self.base / pattern
        return [path] if path.exists() else []

    def path(self, part: str) -> Path:
        """The one path of a part. Raises IncompleteDataError where it is absent."""
        paths = self.paths(part)
        if not paths:
            missing = self.layout.parts[part]
            raise IncompleteDataError(f"{self.base} lacks {missing}", [missing], found=True)
        return paths[0]

    @property
    def absent(self) -> list[str]:
        """Paths of the parts that are not there."""
        return [path for part, path in self.layout.parts.items() if not self.paths(part)]
