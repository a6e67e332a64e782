"""Where a dataset's files may lie: the official layout, torchvision's, a mirror's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslbench.datasets.disk import Disk
from sslbench.errors import IncompleteDataError


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
