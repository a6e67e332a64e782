"""All files of a dataset or a checkpoint: fetched and unpacked, one failure not keeping the others back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sslbench.errors import SslbenchError
from sslbench.sources.check import pin_path
from sslbench.sources.download import Say
from sslbench.sources.fetch import TIMEOUT, fetch, quiet
from sslbench.sources.marker import read_marker
from sslbench.sources.source import Source
from sslbench.sources.unpack import DamagedArchiveError, unpack


@dataclass(frozen=True)
class Outcome:
    """What became of one source. path: the file, or the directory it was unpacked into. error: empty when it is there."""

    source: Source
    path: Path
    error: str = ""


def obtain(
    sources: Sequence[Source],
    directory: Path,
    *,
    offline: bool = False,
    again: bool = False,
    say: Say = quiet,
    timeout: float = TIMEOUT,
) -> list[Outcome]:
    """Bring every source into `directory`, in their order; an outcome for each.

    An archive that was unpacked completely is not needed any more and may have been removed. again: unpack all the
    same. The rest as in `fetch`. An interrupt ends it; the next call goes on.
    """
    outcomes = []
    for source in sources:
        place = directory / source.filename if source.unpack is None else directory / source.unpack
        try:
            _obtain(source, directory, offline=offline, again=again, say=say, timeout=timeout)
            outcomes.append(Outcome(source, place))
        except SslbenchError as error:
            outcomes.append(Outcome(source, place, str(error)))
    return outcomes


def is_obtained(source: Source, directory: Path) -> bool:
    """Whether it is there, from names, sizes and markers alone: nothing is read through."""
    file = directory / source.filename
    if source.unpack is None:
        return file.is_file() and source.size in (None, file.stat().st_size)
    marker = read_marker((directory / source.unpack).resolve(), file.name)
    return marker is not None and marker.fits(source) and (not file.is_file() or marker.is_of(file))


def _obtain(source: Source, directory: Path, *, offline: bool, again: bool, say: Say, timeout: float) -> None:
    if source.unpack is None:
        fetch(source, directory, offline=offline, say=say, timeout=timeout)
    elif again or not is_obtained(source, directory):
        archive = fetch(source, directory, offline=offline, say=say, timeout=timeout)
        say(f"{source.filename}: unpacking into {directory / source.unpack}")
        try:
            unpack(archive, directory / source.unpack, again=again)
        except DamagedArchiveError:
            # Where no digest is published, that of a bad download was pinned; a good one must not be measured by it.
            pin_path(archive).unlink(missing_ok=True)
            raise
