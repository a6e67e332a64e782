"""What was unpacked, moved to its place, beside what is there already."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from pathlib import Path

from sslbench.errors import ArchiveError


def merge(unpacked: Path, directory: Path) -> None:
    """Move everything below `unpacked` to below `directory`.

    Directories are merged; a file that is there already must have the same bytes. All that is looked at before anything
    is moved: raises ArchiveError without a change, and OSError.
    """
    for source, place in list(_moves(unpacked, directory)):
        source.replace(place)


def _moves(unpacked: Path, directory: Path) -> Iterator[tuple[Path, Path]]:
    for entry in sorted(unpacked.iterdir()):
        place = directory / entry.name
        if not (place.exists() or place.is_symlink()):
            yield entry, place
        elif entry.is_dir() and not entry.is_symlink() and place.is_dir():
            yield from _moves(entry, place)
        elif not _same(entry, place):
            raise ArchiveError(
                f"{place} is there already and differs from the one in the archive; remove it, or unpack elsewhere"
            )


def _same(entry: Path, place: Path) -> bool:
    if entry.is_symlink() or place.is_symlink():
        return entry.is_symlink() and place.is_symlink() and entry.readlink() == place.readlink()
    return entry.is_file() and place.is_file() and filecmp.cmp(entry, place, shallow=False)
