"""One file into a directory: from the first address that gives the right bytes, never a wrong or half one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

from sslbench.errors import FetchError
from sslbench.sources.check import expected_digests, pin, problem
from sslbench.sources.download import Say, download
from sslbench.sources.part import Part
from sslbench.sources.source import Source
from sslbench.sources.web import AddressError

TIMEOUT = 30.0


def quiet(message: str) -> None:
    """Say nothing."""


def fetch(
    source: Source, directory: Path, *, offline: bool = False, say: Say = quiet, timeout: float = TIMEOUT
) -> Path:
    """The file below `directory`, fetched unless it is there and sound.

    Sound is a file of the declared size and digest; where no digest is published, that of the first use is pinned in
    FILE.sha256. What an interrupted fetch left is continued. Two processes that want the same file: one fetches, the
    other waits. offline: open no socket. timeout: seconds without a sign of life from a server.
    Raises FetchError, which says what was tried and what a person can do.
    """
    path = directory / source.filename
    try:
        if _sound(path, source, say):
            return path
        if offline or not source.urls:
            raise FetchError(_advice(path, source, offline))
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path, say):
            # Another process may have fetched it while this one waited.
            if not _sound(path, source, quiet):
                _from_addresses(path, source, say, timeout)
        return path
    except OSError as error:
        kept = Part(path)
        more = (
            f"; {kept.size} bytes are kept in {kept.path}, and the same command goes on from there" if kept.size else ""
        )
        raise FetchError(f"{path} cannot be read or written: {error}{more}") from error


def _locked(path: Path, say: Say) -> AbstractContextManager[object]:
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        say(f"{path}: another process is fetching it; waiting")
        return lock.acquire()


def _sound(path: Path, source: Source, say: Say) -> bool:
    if not path.is_file():
        return False
    if reason := problem(path, source, path):
        say(f"{path} is not the expected file: {reason}")
        return False
    try:
        pin(source, path)
    except OSError as error:
        # A data directory that several people share may be read-only for this one; its files are usable all the same.
        say(f"{path}: its digest could not be pinned: {error}")
    return True


def _from_addresses(path: Path, source: Source, say: Say, timeout: float) -> None:
    part = Part(path)
    failed = []
    for url in source.urls:
        try:
            _from_address(url, part, path, source, say, timeout)
        except AddressError as error:
            say(f"{url}: {error}")
            failed.append(f"  {url}: {error}")
            continue
        part.finish(path)
        pin(source, path)
        return
    raise FetchError("\n".join([f"{source.filename} could not be fetched:", *failed, _by_hand(path, source)]))


def _from_address(url: str, part: Part, path: Path, source: Source, say: Say, timeout: float) -> None:
    verified = bool(expected_digests(source, path))
    continued = part.size > 0
    say(f"{source.filename}: {'going on from byte ' + str(part.size) if continued else 'fetching'} from {url}")
    download(url, part, source, verified=verified, say=say, timeout=timeout)
    reason = problem(part.path, source, path)
    if reason and continued:
        # Whoever wrote the beginning may be to blame, so this address gets a chance of its own.
        say(f"{url}: {reason}; fetching it from the start")
        part.discard()
        download(url, part, source, verified=verified, say=say, timeout=timeout)
        reason = problem(part.path, source, path)
    if reason:
        part.discard()
        raise AddressError(reason)


def _advice(path: Path, source: Source, offline: bool) -> str:
    reason = problem(path, source, path) if path.is_file() else ""
    state = f"{path} is not the expected file: {reason}. Remove it" if reason else f"{path} is missing"
    if source.inner:
        return f"{state}; it comes out of an archive that is fetched before it"
    if source.urls and offline:
        return f"{state}; offline, nothing is fetched. Run the same command with a network, or copy the file from elsewhere"
    return f"{state}; it has to be fetched by hand.\n{_by_hand(path, source)}"


def _by_hand(path: Path, source: Source) -> str:
    steps = source.manual or f"get the file from one of these addresses, or from a colleague, and save it as {path}"
    return f"  By hand: {steps}"
