"""Runs on disk: one directory with a record and its samples for each case, and the tables made from them."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslbench.errors import CacheWarning, RecordError, SslbenchError
from sslbench.files import write_atomic
from sslbench.protocols import list_protocols, protocol_spec
from sslbench.results.record import Record, dump, slug
from sslbench.results.references import read_records
from sslbench.store.url import is_url


@dataclass(frozen=True)
class Run:
    """A run directory: `records/*.json`, `samples/*.safetensors`, `summary.csv`, `summary.md`, `report.html`."""

    directory: Path

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return str(self.directory)

    def bring_samples(self, records: Iterable[Record]) -> None:
        """Have the samples of these records lie beside them, as far as there are any."""

    def record_path(self, case: str) -> Path:
        """Where the record of a case is or will be."""
        return self.directory / "records" / f"{slug(case)}.json"

    def check_writable(self, option: str = "--sslbench-results=DIR") -> None:
        """Raise RecordError before anything is computed when records cannot be written. option: what chooses another place."""
        try:
            (self.directory / "records").mkdir(parents=True, exist_ok=True)
            (self.directory / "samples").mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=self.directory / "records"):
                pass
        except OSError as error:
            raise RecordError(
                f"the results directory {self.directory} cannot be written: {error}. Make it writable, or choose another "
                f"with {option} or SSLBENCH_RESULTS"
            ) from error

    def write_samples(self, case: str, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, str]:
        """Store per-sample outcomes; returns what the record says of them."""
        content = pack_samples(arrays)
        self.put_samples(case, content)
        return describe_samples(case, content)

    def put_samples(self, case: str, content: bytes) -> None:
        """Store the file that `pack_samples` made."""
        _written(self.directory / "samples" / _samples_name(case), content)

    def samples_sound(self, record: Record) -> bool:
        """Whether the samples beside a record are there and unchanged."""
        if record.samples is None:
            return False
        try:
            path, digest = self.directory / "records" / record.samples["path"], str(record.samples["sha256"])
        except (KeyError, TypeError):
            return False
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest

    def put_record(self, case: str, data: Mapping[str, Any]) -> Path:
        """Store a record's JSON, whatever its scores are."""
        path = self.record_path(case)
        _written(path, dump(data))
        return path

    def write(self, record: Record) -> Path:
        """Store a record.

        Raises RecordError, after storing it, when its main score is not finite: there is no verdict on such a case, it is
        left out of tables, and a later run runs it again.
        """
        path = self.put_record(record.case, record.to_json())
        if not math.isfinite(value := record.main.value):
            raise RecordError(
                f"{record.case}: expected a finite main score, got {record.main_score} = {value}; what was computed is kept "
                f"in {path} and the samples it names. Look there, then run the case again"
            )
        return path

    def read(self, case: str) -> Record | None:
        """The record of a case, or None; a damaged one is reported with a CacheWarning and counts as missing."""
        path = self.record_path(case)
        if not path.exists():
            return None
        try:
            return read_record(path)
        except RecordError as error:
            warnings.warn(f"{error}; running the case again", CacheWarning, stacklevel=2)
            return None

    def records(self) -> list[Record]:
        """Every sound record, sorted by case.

        Damaged ones, and those of another schema or protocol version, are reported and left out.
        """
        found = []
        for path in sorted((self.directory / "records").glob("*.json")):
            try:
                record = read_record(path)
                _check_version(record)
                if path != self.record_path(record.case):
                    raise RecordError(f"{path} is a copy of the record of {record.case}")
            except SslbenchError as error:
                warnings.warn(f"{error}; left out", CacheWarning, stacklevel=2)
            else:
                found.append(record)
        return sorted(found, key=lambda record: record.case)


def pack_samples(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The file of per-sample outcomes."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def describe_samples(case: str, content: bytes) -> dict[str, str]:
    """What a record says of the file of its samples."""
    return {"path": f"../samples/{_samples_name(case)}", "sha256": hashlib.sha256(content).hexdigest()}


def _samples_name(case: str) -> str:
    return f"{slug(case)}.safetensors"


def _check_version(record: Record) -> None:
    # A protocol of somebody's conftest.py is not known where only its records are read.
    if record.task["protocol"] not in list_protocols():
        return
    current = str(protocol_spec(record.task["protocol"]).version)
    if str(record.task["version"]).partition(":")[0] != current:
        raise RecordError(
            f"{record.case} was run with version {record.task['version']} of its protocol, which is now {current}"
        )


def read_record(path: Path) -> Record:
    """One record file; RecordError when it is damaged or of another schema."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RecordError(f"damaged record {path}: {error}") from error
    return Record.from_json(data, where=str(path))


def latest_run(results: Path) -> Run:
    """The run below `results` whose records changed last; RecordError when there is none."""
    folders = [path for path in results.glob("*/records") if path.is_dir()]
    if not folders:
        raise RecordError(f"no run below {results.absolute()}; run `pytest benchmarks` first, or name a run directory")
    return Run(max(folders, key=lambda path: path.stat().st_mtime).parent)


def open_run(name: str | None, results: Path) -> Run:
    """A run by its directory, its URL or its name below `results`; the latest where no name is given.

    Raises RecordError where it is none, StoreError where a URL cannot be read.
    """
    if name is None:
        return latest_run(results)
    if is_url(name):
        # It stands on this module.
        from sslbench.results.remote import fetch_run

        return fetch_run(name)
    options = [Path(name), results / name]
    found = [path for path in options if (path / "records").is_dir()]
    if not found:
        raise RecordError(f"no run at {' or '.join(map(str, options))}; expected a directory that holds records/")
    return Run(found[0])


def open_records(name: str, results: Path) -> list[Record]:
    """Records by a run's name below `results`, a run directory or its URL, a record file or a baseline file."""
    if is_url(name):
        return open_run(name, results).records()
    path = Path(name)
    if path.is_file():
        try:
            data = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise RecordError(f"{path} is neither a record nor a baseline file: {error}") from error
        return read_records(path) if isinstance(data, list) else [read_record(path)]
    for directory in (path, results / name):
        if (directory / "records").is_dir():
            return Run(directory).records()
    raise RecordError(
        f"{name!r} is neither a record, a baseline file, nor a run directory (looked in {results.absolute()})"
    )


def _written(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content)
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written: {error}; free space or make it writable, and run the case again: features and finished "
            "trainings are in the cache"
        ) from error


def write_baseline(records: list[Record], path: Path) -> None:
    """Write records as a baseline: a JSON list, without the per-sample files beside them."""
    items = [{**record.to_json(), "samples": None} for record in sorted(records, key=lambda record: record.case)]
    write_atomic(path.absolute(), dump(items))


def check_target(path: Path) -> None:
    """Raise RecordError before a run when a baseline could not be written to `path` after it."""
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise RecordError(f"the baseline {path} cannot be written: {error}; choose another file") from error
