"""Sizes of files, with each directory listed once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


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
