"""An archive into a directory: whole or not at all, and nothing of it elsewhere."""

from __future__ import annotations

import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

from filelock import FileLock

from sslbench.errors import ArchiveError
from sslbench.sources.check import digests
from sslbench.sources.limits import MAX_BYTES, MAX_FILES, MAX_RATIO, Budget
from sslbench.sources.marker import Marker, read_marker
from sslbench.sources.merge import merge
from sslbench.sources.page import HEAD, describe_page, is_page
from sslbench.sources.tars import extract_tar
from sslbench.sources.zips import extract_zip

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, struct.error, ValueError)


class DamagedArchiveError(ArchiveError):
    """An archive whose content cannot be what somebody packed."""


def unpack(
    archive: Path,
    directory: Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
    max_ratio: float = MAX_RATIO,
    again: bool = False,
) -> Path:
    """Extract a zip or tar (.gz, .bz2, .xz) into `directory`, which is returned.

    It is extracted beside its place and moved there when it is whole; last comes the marker `.NAME.complete` with the
    archive's digest, by which a second call is done at once (`again`: unpack all the same). Several archives may share
    a directory: directories are merged, and a file that is there already must have the same bytes.
    Refused: names and links that lead out of the directory, devices, encrypted members, damage, and more than
    max_bytes, max_files or max_ratio (unpacked to packed size).
    Raises ArchiveError; then nothing of the archive is in the directory.
    """
    directory = directory.resolve()
    try:
        if not again and _is_done(archive, directory):
            return directory
        directory.parent.mkdir(parents=True, exist_ok=True)
        # Beside the archive, because the directory may not be there; archives that share it usually lie together.
        with FileLock(archive.with_name(f".{directory.name}.unpack.lock")):
            # Another process may have unpacked it while this one waited.
            if again or not _is_done(archive, directory):
                _unpack(archive, directory, Budget(archive, archive.stat().st_size, max_bytes, max_files, max_ratio))
    except OSError as error:
        raise ArchiveError(f"{archive} could not be unpacked into {directory}: {error}") from error
    return directory


def _is_done(archive: Path, directory: Path) -> bool:
    marker = read_marker(directory, archive.name)
    if marker is None or marker.size != archive.stat().st_size:
        return False
    return marker.is_of(archive) or marker.sha256 == digests(archive)["sha256"]


def _unpack(archive: Path, directory: Path, budget: Budget) -> None:
    exists = directory.is_dir()
    # Inside a directory that exists, because it may be a disk of its own, and what is moved must not be copied.
    temporary = (directory if exists else directory.parent) / f".{archive.name}.unpacking"
    _remove(temporary)
    try:
        temporary.mkdir()
        before = archive.stat()
        _extract(archive, temporary, budget)
        marker = Marker(
            archive=archive.name,
            **digests(archive),
            size=before.st_size,
            modified=before.st_mtime_ns,
            entries=tuple(sorted(path.name for path in temporary.iterdir())),
            files=budget.files,
            bytes=budget.bytes,
        )
        if exists:
            merge(temporary, directory)
            marker.write(directory)
        else:
            marker.write(temporary)
            temporary.replace(directory)
    finally:
        _remove(temporary)


def _extract(archive: Path, root: Path, budget: Budget) -> None:
    with archive.open("rb") as file:
        start = file.read(4)
    try:
        # Not zipfile.is_zipfile, which looks at the end, where a tar may hold a zip.
        if start in (b"PK\x03\x04", b"PK\x05\x06"):
            extract_zip(archive, root, budget)
        else:
            extract_tar(archive, root, budget)
    except _DAMAGE as error:
        raise DamagedArchiveError(_damaged(archive, error)) from error
    except NotImplementedError as error:
        raise ArchiveError(f"{archive} cannot be read: {error}; unpack it by hand") from error
    except OSError as error:
        # gzip and bzip2 report damage as an OSError that no system call is behind.
        if error.errno is not None:
            raise
        raise DamagedArchiveError(_damaged(archive, error)) from error


def _damaged(archive: Path, error: Exception) -> str:
    with archive.open("rb") as file:
        head = file.read(HEAD)
    if is_page(archive.name, head):
        return f"{archive} is {describe_page(head)}; remove it and fetch it again"
    reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(":")
    return f"{archive} is damaged, or neither a zip nor a tar ({reason}); remove it and fetch it again"


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
