"""A run in a store: a run directory of this machine, and the same records, samples and tables at a URL."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from filelock import FileLock

from sslbench.errors import CacheWarning, RecordError, StoreError
from sslbench.files import write_atomic
from sslbench.results.record import Record, dump
from sslbench.results.runs import Run, read_record
from sslbench.store.store import Store

_AT_A_TIME = 16
_MARKER = ".shared.json"


class _Known(TypedDict):
    """version: of the object when it was last the same as the local file. sha256: of that file then."""

    version: str
    sha256: str


@dataclass(frozen=True)
class SharedRun(Run):
    """A run directory in front of a run in a store, which several machines write to and which outlives them.

    store: of this run alone. told: what went wrong with the store, for people; the run goes on, and `finish` tries again.

    Records are written whole, after their samples. One counts when the samples it names are those it was written with; they are
    fetched when somebody asks. A record that was removed from the store is removed here.
    """

    store: Store = field(kw_only=True)
    told: list[str] = field(default_factory=list, compare=False, repr=False, kw_only=True)

    @property
    def place(self) -> str:
        """Its URL."""
        return self.store.url

    def begin(self) -> list[str]:
        """Check that the store can be used, and pull. Raises StoreError before anything is computed."""
        self.store.check()
        return self.pull()

    def pull(self, *, exact: bool = False) -> list[str]:
        """Fetch the records that are new or have changed in the store; a message for each damaged one, which is left out.

        One that was written here since and could not be shared stays where it is the newer one. exact: only what is sound in the
        store stays, in a directory that nothing else is written to. Raises StoreError.
        """
        try:
            (self.directory / "records").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.store.url}: its copy on this machine, {self.directory}, cannot be written: {error.strerror}. Make it "
                "writable, or choose another folder with SSLBENCH_LOCAL_CACHE"
            ) from error
        with self._lock():
            known = self._known()
            # No deeper ones: a name of somebody else's making must not lead out of the directory.
            there = {name: tag for name, tag in self.store.names("records/").items() if name.count("/") == 1}
            for name in known.keys() - there.keys():
                # What was written here since and could not be shared stays.
                if _digest(self.directory / name) == known[name]["sha256"]:
                    (self.directory / name).unlink()
                del known[name]
            new = [
                name
                for name, version in sorted(there.items())
                if Path(name).suffix == ".json"
                and (name not in known or known[name]["version"] != version or not (self.directory / name).exists())
            ]
            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                problems = list(pool.map(lambda name: self._pulled(name, known.get(name)), new))
            for name, problem in zip(new, problems, strict=True):
                digest = _digest(self.directory / name)
                if problem is None and digest is not None:
                    known[name] = _Known(version=there[name], sha256=digest)
                elif problem:
                    # A sound copy that is here is shared again.
                    known.pop(name, None)
            if exact:
                for path in (self.directory / "records").glob("*.json"):
                    if f"records/{path.name}" not in known:
                        path.unlink()
            self._remember(known)
        return [problem for problem in problems if problem]

    def _pulled(self, name: str, known: _Known | None) -> str | None:
        """What is wrong with a record; None where it is here now, nothing where the one of this directory stays."""
        path = self.directory / "records" / Path(name).name
        fetched = path.with_name(f"{path.name}.pulled")
        if not self.store.get(name, fetched):
            return None
        try:
            record = read_record(fetched)
            if self.record_path(record.case) != path:
                raise RecordError(f"{name} is the record of another case")
            if self._is_newer_here(path, known, record):
                fetched.unlink()
                return ""
            fetched.replace(path)
        except RecordError as error:
            fetched.unlink()
            text = str(error).replace(str(fetched), f"{self.store.url}/{name}")
            return f"{text}; left out, and replaced when the case has run"
        return None

    @staticmethod
    def _is_newer_here(path: Path, known: _Known | None, there: Record) -> bool:
        if not path.exists() or (known is not None and known["sha256"] == _digest(path)):
            return False
        with contextlib.suppress(RecordError):
            return read_record(path).created > there.created
        return False

    def samples_sound(self, record: Record) -> bool:
        """As of any run; samples that are not here are fetched."""
        if super().samples_sound(record):
            return True
        name = _samples_object(record)
        if name is None:
            return False
        try:
            found = self.store.get(name, self.directory / name)
        except StoreError as error:
            warnings.warn(f"{error}; running {record.case} again", CacheWarning, stacklevel=2)
            return False
        if found and not super().samples_sound(record):
            warnings.warn(
                f"damaged samples {self.store.url}/{name}: they are not those of the record; running {record.case} again",
                CacheWarning,
                stacklevel=2,
            )
            return False
        return found

    def bring_samples(self, records: Iterable[Record]) -> None:
        """Fetch those that are not here; whether they are sound is the reader's to check. Raises StoreError."""
        absent = {
            name
            for record in records
            # What a record says amiss of its samples is told by who reads them.
            if (name := _samples_object(record)) is not None and not Run.samples_sound(self, record)
        }
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(lambda name: self.store.get(name, self.directory / name), sorted(absent)))

    def push(self, record: Record) -> None:
        """Share a record of this directory, and its samples first, unless the store has it as it is here.

        A store that fails is told once, and asked again by `finish`.
        """
        if self.told:
            return
        try:
            with self._lock():
                self._push(self.record_path(record.case))
        except StoreError as error:
            self.told.append(
                f"{error}. Records are in {self.directory}, and are shared at the end if that is possible by then"
            )

    def finish(self) -> list[str]:
        """Share what is not shared yet: records, and whatever else lies in the directory, such as tables and the report.

        Returns what could not be done, for people; empty where the store has all.
        """
        try:
            with self._lock():
                for path in sorted((self.directory / "records").glob("*.json")):
                    with contextlib.suppress(RecordError):
                        read_record(path)
                        self._push(path)
            for path in sorted(self._others()):
                # Others may tidy up meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    self.store.put(path, path.relative_to(self.directory).as_posix())
        except StoreError as error:
            return [
                f"{error}. Not everything of this run is in {self.store.url}: it is in {self.directory}, and the same command "
                "shares it when the store can be reached"
            ]
        return []

    def _push(self, path: Path) -> None:
        name, known = f"records/{path.name}", self._known()
        digest = _digest(path)
        if digest is None or (name in known and known[name]["sha256"] == digest):
            return
        record = read_record(path)
        if record.samples is not None:
            samples = _samples_object(record)
            if samples is None or not (self.directory / samples).exists():
                return
            self.store.put(self.directory / samples, samples)
        self.store.put(path, name)
        self._remember({**known, name: _Known(version=self.store.names(name).get(name, ""), sha256=digest)})

    def _others(self) -> list[Path]:
        return [
            path
            for path in self.directory.rglob("*")
            if path.is_file()
            and (inside := path.relative_to(self.directory).parts)[0] not in ("records", "samples", "engine")
            and not any(part.startswith(".") for part in inside)
            and path.suffix not in (".tmp", ".lock")
        ]

    def _lock(self) -> FileLock:
        self.directory.mkdir(parents=True, exist_ok=True)
        return FileLock(self.directory / ".shared.lock")

    def _known(self) -> dict[str, _Known]:
        try:
            known: dict[str, _Known] = json.loads((self.directory / _MARKER).read_bytes())
        except (OSError, ValueError):
            return {}
        return known

    def _remember(self, known: dict[str, _Known]) -> None:
        write_atomic(self.directory / _MARKER, dump(known))


def run_at(directory: Path, url: str) -> Run:
    """The run in a directory; where there is a URL of results, the one of the same name below it too."""
    return SharedRun(directory, store=Store(url).below(directory.name)) if url else Run(directory)


def _samples_object(record: Record) -> str | None:
    """The name of its samples; None where it has none, or names no file that could be theirs."""
    path = record.samples.get("path") if isinstance(record.samples, dict) else None
    name = Path(path).name if isinstance(path, str) else ""
    return f"samples/{name}" if name.endswith(".safetensors") else None


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
