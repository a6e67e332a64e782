"""Runs of several machines as one: the records of each and the samples beside them, in one run directory."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from sslbench.errors import CacheWarning, RecordError
from sslbench.files import write_atomic
from sslbench.results.record import Record, dump, slug
from sslbench.results.remote import fetch_run, run_urls
from sslbench.results.runs import Run
from sslbench.store.url import is_url

# Cases that are named where there are more of them.
_NAMED = 6


@dataclass(frozen=True)
class Found:
    """A sound record, the run that it lies in, and its samples' file where it has one."""

    record: Record
    run: Run
    samples: Path | None

    @property
    def age(self) -> tuple[datetime, str]:
        """By which the newest is told; equal times are ordered by content, so that the order of the runs says nothing."""
        samples = self.record.samples and {**self.record.samples, "path": ""}
        return _time(self.record), hashlib.sha256(dump(replace(self.record, samples=samples).to_json())).hexdigest()


@dataclass(frozen=True)
class Merged:
    """records: of the run that was written to, sorted by case. written: how many of them were not there before.

    dropped: a message for each record that was left out. twice: cases of which there were several records of one key; replaced:
    cases of which an older record of another key gave way.
    """

    records: list[Record]
    written: int
    dropped: list[str]
    twice: list[str]
    replaced: list[str]


def find_runs(place: Path | str, into: Path | str | None = None) -> list[Run]:
    """The runs that a directory or a URL is or holds, at most three levels down, as artefacts are unpacked.

    into: where they are merged to. It is left out where others lie beside it, as when the same command was run before.

    Raises:
        RecordError: it holds none, or runs of several names, of which nobody said that they belong together.
        StoreError: a URL cannot be read.
    """
    if is_url(place):
        return _find_stored_runs(str(place), str(into or ""))
    directory = Path(place)
    if (directory / "records").is_dir():
        return [Run(directory)]
    found = {path.parent for depth in ("*", "*/*", "*/*/*") for path in directory.glob(f"{depth}/records")}
    places = sorted(place for place in found if (place / "records").is_dir())
    others = [place for place in places if into is None or place.resolve() != Path(into).resolve()]
    runs = list(map(Run, others or places))
    if not runs:
        raise RecordError(
            f"no run at {directory}; expected a directory that holds records/, or such directories (results, an artefact)"
        )
    _check_one_name(str(directory), [run.place for run in runs])
    return runs


def _find_stored_runs(url: str, into: str) -> list[Run]:
    found = run_urls(url)
    urls = [each for each in found if each != into.rstrip("/")] or found
    if len(urls) > 1:
        _check_one_name(url, urls)
    # Where there is none, that is told of the URL itself.
    return [fetch_run(found) for found in urls or [url]]


def _check_one_name(where: str, places: Sequence[str]) -> None:
    names = sorted({PurePosixPath(place).name for place in places})
    if len(names) > 1:
        raise RecordError(
            f"{where} holds runs of several names, {', '.join(names)}; name those that belong together, such as {places[0]}"
        )


def merge_runs(runs: Iterable[Run], into: Run, *, newest: bool = False) -> Merged:
    """Write the records of runs, with their samples, into one run, which may hold some already.

    A record that is damaged, or whose samples are, is left out. Of several records of a case and a key the newest counts, and
    where one of them is newer than what `into` has, that is replaced; so the same call again changes nothing, and one that was
    interrupted is made good. newest: whether it counts too where keys differ.

    Raises:
        RecordError: two records of a case differ in their key (without `newest`), which is told before anything is written; or
            a file cannot be written.
    """
    told: list[str] = []
    there = {found.record.case: found for found in _read(into, told)}
    cases = {case: [found] for case, found in there.items()}
    for run in _distinct(runs, into):
        for found in _read(run, told):
            cases.setdefault(found.record.case, []).append(found)
    apart = {case: several for case, several in cases.items() if len({found.record.key for found in several}) > 1}
    if apart and not newest:
        raise RecordError(_conflict(apart))
    chosen = [max(several, key=lambda found: found.age) for _, several in sorted(cases.items())]
    into.check_writable("--into DIR")
    written = 0
    for found in chosen:
        if found is not there.get(found.record.case):
            _copy(found, into)
            written += 1
    return Merged(
        records=into.records(),
        written=written,
        dropped=told,
        twice=sorted(case for case, several in cases.items() if case not in apart and len(_different(several)) > 1),
        replaced=sorted(apart),
    )


def missing_cases(records: Iterable[Record], expected: Iterable[str]) -> list[str]:
    """The expected cases of which there is no record, sorted."""
    return sorted(set(expected) - {record.case for record in records})


def _distinct(runs: Iterable[Run], into: Run) -> list[Run]:
    places = {_same(run): run for run in runs}
    places.pop(_same(into), None)
    return list(places.values())


def _same(run: Run) -> str | Path:
    return run.place if is_url(run.place) else run.directory.resolve()


def _different(several: Sequence[Found]) -> set[str]:
    # A case that was merged before is in `into` as well as where it came from.
    return {found.record.created for found in several}


def _read(run: Run, told: list[str]) -> list[Found]:
    """The sound records of a run; what is wrong with others goes to `told`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CacheWarning)
        records = run.records()
    told += [str(warning.message) for warning in caught]
    run.bring_samples(records)
    found = []
    for record in records:
        try:
            _time(record)
            found.append(Found(record, run, _samples(record, run)))
        except RecordError as error:
            told.append(f"{error}; left out")
    return found


def _samples(record: Record, run: Run) -> Path | None:
    """The file of a record's samples. Raises RecordError for one that is gone, changed, or outside of the run."""
    if record.samples is None:
        return None
    where = f"{record.case} in {run.place}"
    try:
        path = (run.directory / "records" / str(record.samples["path"])).resolve()
        digest = str(record.samples["sha256"])
    except (KeyError, TypeError) as error:
        raise RecordError(f"{where}: its samples must be path and sha256, got {record.samples!r}") from error
    if not path.is_relative_to(run.directory.resolve()):
        raise RecordError(f"{where}: its samples lie outside of the run, at {record.samples['path']}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{where}: its samples cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise RecordError(f"{where}: its samples are damaged: {path} has not the sha256 {digest[:12]}...")
    return path


def _time(record: Record) -> datetime:
    try:
        time = datetime.fromisoformat(record.created)
    except (TypeError, ValueError) as error:
        raise RecordError(f"{record.case}: expected a time in `created`, got {record.created!r}") from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _copy(found: Found, into: Run) -> None:
    """Samples first: a record never names a file that is not there yet."""
    record = found.record
    if found.samples is not None and record.samples is not None:
        name = f"{slug(record.case)}.safetensors"
        content = found.samples.read_bytes()
        if hashlib.sha256(content).hexdigest() != record.samples["sha256"]:
            raise RecordError(f"{found.samples} was changed while it was merged; merge again when nothing writes to it")
        _written(into.directory / "samples" / name, content)
        record = replace(record, samples={**record.samples, "path": f"../samples/{name}"})
    _written(into.record_path(record.case), dump(record.to_json()))


def _written(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content)
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written: {error}; free space or make it writable, and merge again"
        ) from error


def _conflict(apart: dict[str, list[Found]]) -> str:
    lines = []
    for case, several in sorted(apart.items())[:_NAMED]:
        kept = {found.record.key: found for found in sorted(several, key=lambda found: found.age)}
        places = "; ".join(f"{found.run.place} (key {key[:12]}, {found.record.created})" for key, found in kept.items())
        lines.append(f"  {case}: {places}")
    more = len(apart) - _NAMED
    return "\n".join(
        [
            f"{len(apart):,} case(s) have records of different keys, of other weights, data or choices; nothing was written:",
            *lines,
            *([f"  and {more:,} more"] if more > 0 else []),
            "Leave out the runs that do not belong together, or keep the newest record of each case with --newest",
        ]
    )
