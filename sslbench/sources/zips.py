"""Zip files."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

from sslbench.errors import ArchiveError
from sslbench.sources.limits import Budget
from sslbench.sources.members import is_clutter, target, write

_ENCRYPTED = 0x1


def extract_zip(archive: Path, root: Path, budget: Budget) -> None:
    """Everything below `root`. Raises ArchiveError, OSError, and what `zipfile` raises for damage."""
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if is_clutter(info.filename):
                continue
            path = target(root, info.filename, archive)
            budget.add_file()
            # Unix systems keep the file's mode in the upper half; others leave it 0.
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            if kind not in (0, stat.S_IFREG):
                raise ArchiveError(
                    f"{archive}: {info.filename!r} is a link or a device, which no zip of data holds; do not use it"
                )
            if info.flag_bits & _ENCRYPTED:
                raise ArchiveError(f"{archive}: {info.filename!r} is encrypted; unpack the archive by hand")
            with file.open(info) as stream:
                write(stream, path, budget)
