"""Tar files, plain or compressed with gzip, bzip2 or xz."""

from __future__ import annotations

import tarfile
from pathlib import Path

from sslbench.errors import ArchiveError
from sslbench.sources.limits import Budget
from sslbench.sources.members import CHUNK, target, write


def extract_tar(archive: Path, root: Path, budget: Budget) -> None:
    """Everything below `root`, a path without links.

    Raises ArchiveError, OSError, and what `tarfile` and the decompressors raise for damage.
    """
    links = []
    with tarfile.open(archive) as file:
        for member in file:
            path = target(root, member.name, archive)
            budget.add_file()
            try:
                tarfile.data_filter(member, str(root))
            except tarfile.FilterError as error:
                raise ArchiveError(f"{archive} is unsafe: {error}; do not use it") from error
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
            elif member.isreg():
                stream = file.extractfile(member)
                assert stream is not None, "a regular file has content"
                with stream:
                    write(stream, path, budget)
            else:
                links.append((member, path))
        # After the files, so that none can be written through a link.
        for member, path in links:
            _link(archive, root, member, path)
        for member, path in links:
            # The filter judged each link by its text; led through others it may end elsewhere all the same.
            if not path.resolve().is_relative_to(root):
                raise _unsafe(archive, member)
        _drain(file, budget)


def _link(archive: Path, root: Path, member: tarfile.TarInfo, path: Path) -> None:
    if path.parent.resolve() != path.parent:
        raise _unsafe(archive, member)
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        path.symlink_to(member.linkname)
    else:
        path.hardlink_to(target(root, member.linkname, archive))


def _unsafe(archive: Path, member: tarfile.TarInfo) -> ArchiveError:
    return ArchiveError(f"{archive} is unsafe: the link {member.name!r} leads out of its directory; do not use it")


def _drain(file: tarfile.TarFile, budget: Budget) -> None:
    # The checksum of a compressed stream stands behind the last member, and is compared only when it is reached.
    stream = file.fileobj
    while stream is not None and (chunk := stream.read(CHUNK)):
        budget.add_bytes(len(chunk))
