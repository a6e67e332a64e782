"""Archives that tests unpack, and what must be left of them."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sslbench.errors import ArchiveError
from sslbench.sources.unpack import unpack

Files = dict[str, bytes]

RNG = random.Random(1)
FILES: Files = {"set/a/1.jpg": RNG.randbytes(3000), "set/b/2 3.jpg": RNG.randbytes(30_000), "set/list.txt": b"1\r\n"}


def make_zip(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, files: Files, mode: str = "w", extra: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path


MAKERS: dict[str, Callable[[Path, Files], Path]] = {
    "data.zip": make_zip,
    "data.tar": make_tar,
    "data.tar.gz": lambda path, files: make_tar(path, files, "w:gz"),
    "data.tgz": lambda path, files: make_tar(path, files, "w:gz"),
    "data.tar.bz2": lambda path, files: make_tar(path, files, "w:bz2"),
    "data.tar.xz": lambda path, files: make_tar(path, files, "w:xz"),
}
each_format = pytest.mark.parametrize("name", MAKERS)
zip_and_tar = pytest.mark.parametrize("name", ["data.zip", "data.tar.gz"])


def found(directory: Path) -> Files:
    """Every file below the directory, markers and locks aside."""
    paths = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def refused(archive: Path, directory: Path, match: str, **options: object) -> str:
    """The message; nothing may be left of the archive, inside the directory or beside it."""
    before = {path for path in directory.parent.rglob("*") if not path.name.endswith(".lock")}
    with pytest.raises(ArchiveError, match=match) as info:
        unpack(archive, directory, **options)
    assert {path for path in directory.parent.rglob("*") if not path.name.endswith(".lock")} == before
    return str(info.value)
