"""The check of a machine against the controller's: versions, folders that are really the same, clocks, store and GPU."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sslbench.config import Settings
from sslbench.engine.local_code import PACKAGE, absolute
from sslbench.environment import PACKAGES, package_versions
from sslbench.errors import DeviceError, EngineError, StoreError

_SCORING = tuple(package for package in PACKAGES if not package.startswith("pytest"))
_MARKER_PREFIX = ".sslbench-machine-check-"
# A name that a machine has looked for in vain may stay unknown to it for a while on a network's disk.
_WAIT_SECONDS = 5.0
_LEFTOVER_SECONDS = 30 * 24 * 3600.0
_MIN_FREE_BYTES = 64 * 2**20
_MAX_SKEW_SECONDS = 60.0


@dataclass(frozen=True)
class _Folder:
    """use: what it is for. option: chooses another. marker: a file that the controller has put there, empty for none."""

    path: str
    use: str
    option: str
    marker: str = ""


@dataclass(frozen=True)
class MachineCheck:
    """What this process has, to be compared where cases run. As a context manager it removes its files at the end.

    versions: of packages and Python, empty where any will do. source: digest of sslbench's own code.
    folders: that have to be writable. clock: seconds by which this machine is ahead of the disk with the shared folders, None
    where nothing is shared. device: as in the settings. store: URL
    of the shared cache, empty for none.
    """

    versions: tuple[tuple[str, str], ...]
    source: str
    folders: tuple[_Folder, ...]
    clock: float | None
    device: str
    store: str

    @classmethod
    def of(
        cls, settings: Settings, run_dir: Path | None, shared: bool = True, versions: Literal["same", "any"] = "same"
    ) -> MachineCheck:
        """The check for a session that is about to begin.

        Args:
            settings: Its cache and device are looked at.
            run_dir: The folder of the run, where workers write records there; None where these travel by value.
            shared: Whether the cache directory, unless before a URL, and that of the run are the same on all machines; a
                small file is put into each then.
            versions: `any` lets workers have other versions.

        Raises:
            EngineError: Where a folder cannot be written here.
        """
        token = _MARKER_PREFIX + secrets.token_hex(8) if shared else ""
        # Behind a URL the directory is each machine's own.
        url = settings.shared_cache
        option = "SSLBENCH_LOCAL_CACHE" if url else "--sslbench-cache=DIR"
        folders = [_Folder(absolute(str(settings.cache_dir)), "the cache directory", option, "" if url else token)]
        if shared and run_dir is not None:
            results = absolute(str(run_dir))
            folders.append(_Folder(results, "the results directory", "--sslbench-results=DIR", token))
        try:
            leads = [_write_marker(folder) for folder in folders if folder.marker]
        except OSError as error:
            _remove_markers(folders)
            raise EngineError(f"{error.filename} cannot be written here: {error.strerror}") from error
        same = versions == "same"
        return cls(
            tuple(sorted(_versions().items())) if same else (),
            source_digest() if same else "",
            tuple(folders),
            leads[0] if leads else None,
            settings.device,
            url,
        )

    def close(self) -> None:
        """Remove the files that `of` has written. May be called twice."""
        _remove_markers(self.folders)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def problems(self) -> list[str]:
        """What this machine has otherwise, each with its name and what to do; found once a process."""
        if self not in _checked:
            _checked[self] = self._check()
        return list(_checked[self])

    def _check(self) -> list[str]:
        host = platform.node()
        problems = _version_problems(dict(self.versions), self.source, host)
        for folder in self.folders:
            problems += _folder_problems(folder, host)
        if not problems and self.clock is not None:
            place = next(folder.path for folder in self.folders if folder.marker)
            problems += _clock_problems(Path(place), self.clock, host)
        if self.store:
            problems += _store_problems(self.store, host)
        if self.device.startswith("cuda"):
            problems += _device_problems(self.device, host)
        return problems


_checked: dict[MachineCheck, list[str]] = {}


def _versions() -> dict[str, str]:
    """Versions of what can change a score, without builds of one (`+cpu`): a controller needs no GPU."""
    found = package_versions()
    chosen = {package: found[package].partition("+")[0] for package in _SCORING}
    return {"Python": f"{sys.version_info.major}.{sys.version_info.minor}", **chosen}


def _remove_markers(folders: Iterable[_Folder]) -> None:
    for folder in folders:
        if folder.marker:
            with contextlib.suppress(OSError):
                (Path(folder.path) / folder.marker).unlink()


@cache
def source_digest() -> str:
    """SHA-256 of sslbench's code: two commits may bear one version."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: path.relative_to(PACKAGE).as_posix()):
        digest.update(f"|{path.relative_to(PACKAGE).as_posix()}|".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _version_problems(expected: dict[str, str], source: str, host: str) -> list[str]:
    if not expected:
        return []
    advice = "or --sslbench-engine-options=versions=any"
    found = _versions()
    problems = [
        f"{package} {version} where pytest was started, {found[package]} on {host}: install the same, {advice}"
        for package, version in expected.items()
        if found[package] != version
    ]
    if not problems and source_digest() != source:
        problems.append(
            f"sslbench {found['sslbench']} is other code on {host} than where pytest was started: install the same "
            f"commit, {advice}"
        )
    return problems


def _write_marker(folder: _Folder) -> float:
    """Write the file; gives the seconds by which this machine's clock is ahead of the disk's."""
    place = Path(folder.path)
    place.mkdir(parents=True, exist_ok=True)
    for left in place.glob(f"{_MARKER_PREFIX}*"):
        # Of controllers that were killed.
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFTOVER_SECONDS:
                left.unlink()
    path = place / folder.marker
    path.write_bytes(b"sslbench: whether machines see the same folder\n")
    return time.time() - path.stat().st_mtime


def _folder_problems(folder: _Folder, host: str) -> list[str]:
    place = Path(folder.path)
    if folder.marker and not _appears(place / folder.marker):
        return [
            f"{folder.use} {place} is not the same on {host}: put it on a shared disk ({folder.option}), name an object "
            "store by URL, or say --sslbench-engine-options=shared=no: then outcomes travel by value and each machine "
            "keeps its own cache"
        ]
    try:
        place.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place).free
        if free < _MIN_FREE_BYTES:
            return [
                f"{folder.use} {place} has {free / 2**20:.0f} MiB left on {host}, less than {_MIN_FREE_BYTES // 2**20}: make "
                f"room there, or choose another with {folder.option}"
            ]
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(4096))
    except OSError as error:
        return [
            f"{folder.use} {place} cannot be written on {host}: {error.strerror or error}. Make it "
            f"writable there, or choose another with {folder.option}"
        ]
    return []


def _appears(path: Path) -> bool:
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            # Listing a folder makes a network's disk ask anew.
            if any(entry.name == path.name for entry in path.parent.iterdir()):
                return True
        except OSError:
            # The folder is not there, or not yet.
            pass
        if time.monotonic() > until:
            return False
        time.sleep(0.2)


def _clock_problems(place: Path, controller: float, host: str) -> list[str]:
    """controller: seconds by which its clock was ahead of the disk's, so that it does not matter when this is asked."""
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=_MARKER_PREFIX) as file:
            file.write(b"\n")
            file.flush()
            ahead = time.time() - os.fstat(file.fileno()).st_mtime
    except OSError as error:
        return [f"{place} cannot be written on {host}: {error.strerror or error}"]
    problems = []
    for other, seconds in (("where pytest was started", ahead - controller), (f"of the disk with {place}", ahead)):
        if abs(seconds) > _MAX_SKEW_SECONDS:
            which = "ahead of" if seconds > 0 else "behind"
            problems.append(
                f"the clock of {host} is {abs(seconds):.0f} s {which} the one {other}: locks and leftovers are judged by their "
                "age; set it right (NTP)"
            )
    return problems[:1]


def _store_problems(url: str, host: str) -> list[str]:
    from sslbench.store.shared import shared_files

    try:
        shared_files(url).check()
    except StoreError as error:
        return [f"{host}: {error}"]
    return []


def _device_problems(device: str, host: str) -> list[str]:
    from sslbench.features.device import resolve_device

    try:
        resolve_device(device)
    except DeviceError as error:
        other = "; a job sees its own GPUs alone, which `cuda` means" if ":" in device else ""
        return [f"{host}: cases take GPUs, as the engine has some, and here {error}{other}"]
    return []
