"""A run in a store: several machines write to it, and a record counts with its own samples alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sslbench.errors import CacheWarning, StoreError
from sslbench.results.record import Record
from sslbench.results.runs import Run
from sslbench.results.shared_run import SharedRun, run_at
from sslbench.store.store import Store

Machine = Callable[[str], SharedRun]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    def at(name: str) -> SharedRun:
        run = run_at(tmp_path / name / "embedded", f"file://{tmp_path}/store")
        assert isinstance(run, SharedRun) and run.begin() == []
        return run

    return at


def write(run: Run, record: Record, seed: int = 0) -> Record:
    """A record with samples, as the runner writes it."""
    samples = run.write_samples(record.case, {"x": np.random.default_rng(seed).random(5)})
    written = replace(record, samples=samples)
    run.write(written)
    return written


def names(run: SharedRun) -> list[str]:
    return sorted(run.store.names())


def test_without_a_url_it_is_a_run_directory(tmp_path: Path) -> None:
    assert type(run_at(tmp_path / "embedded", "")) is Run


def test_a_copy_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("a file")
    with pytest.raises(StoreError, match=r"its copy on this machine, .* cannot be written: .*SSLBENCH_LOCAL_CACHE"):
        run_at(tmp_path / "here" / "embedded", f"file://{tmp_path}/store").pull()


def test_what_one_machine_has_run_another_one_has(machine, make_record) -> None:
    first = machine("a")
    record = write(first, make_record(correct=[True, False]))
    first.push(record)
    assert [name.partition("/")[0] for name in names(first)] == ["records", "samples"]
    assert first.store.url.endswith("/embedded")
    second = machine("b")
    assert second.read(record.case) == record
    assert not (second.directory / "samples").exists()
    assert second.samples_sound(record)
    assert len(list((second.directory / "samples").iterdir())) == 1
    # It is neither sent back nor fetched again.
    before = second.store.names()
    second.push(record)
    assert second.finish() == [] and second.store.names() == before


def test_samples_are_there_before_their_record(machine, make_record, monkeypatch) -> None:
    run, order = machine("a"), []
    put = Store.put
    monkeypatch.setattr(Store, "put", lambda self, path, name: (order.append(name), put(self, path, name)))
    run.push(write(run, make_record()))
    assert [name.partition("/")[0] for name in order] == ["samples", "records"]


@pytest.mark.parametrize("damage", ["other samples", "no samples"])
def test_a_record_without_its_own_samples_does_not_count(machine, make_record, damage) -> None:
    first = machine("a")
    record = write(first, make_record())
    first.push(record)
    (samples,) = first.store.names("samples/")
    second = machine("b")
    if damage == "no samples":
        first.store.delete(samples)
        assert not second.samples_sound(record)
    else:
        first.store.write(samples, b"other")
        with pytest.warns(
            CacheWarning,
            match=f"damaged samples {first.store.url}/{samples}.* running {record.case} again".replace("|", r"\|"),
        ):
            assert not second.samples_sound(record)
    # The case runs again, and both are replaced.
    again = write(second, replace(make_record(), created="later"))
    second.push(again)
    third = machine("c")
    assert third.read(record.case) == again and third.samples_sound(again)


@pytest.mark.parametrize("damage", [b"", b"{ half", b'{"schema_version": 99}', "another case"])
def test_a_damaged_record_is_told_left_out_and_replaced(machine, make_record, damage, tmp_path) -> None:
    first = machine("a")
    record, other = write(first, make_record()), write(first, make_record("moco"))
    first.push(record)
    first.push(other)
    name = f"records/{first.record_path(record.case).name}"
    first.store.write(name, first.record_path(other.case).read_bytes() if damage == "another case" else damage)
    second = run_at(tmp_path / "b/embedded", f"file://{tmp_path}/store")
    (told,) = second.begin()
    assert f"{first.store.url}/{name}" in told or "is the record of another case" in told
    assert told.endswith("left out, and replaced when the case has run")
    assert second.records() == [other]
    assert not list(second.directory.rglob("*.pulled"))
    second.push(write(second, record))
    assert machine("c").records() == sorted([second.read(record.case), other], key=lambda each: each.case)


def test_a_record_that_changed_elsewhere_is_fetched_and_one_that_was_removed_goes(machine, make_record) -> None:
    first = machine("a")
    record, other = write(first, make_record()), write(first, make_record("moco"))
    first.push(record)
    first.push(other)
    second = machine("b")
    later = write(second, replace(record, created="later"), seed=1)
    second.push(later)
    first.store.delete(f"records/{first.record_path(other.case).name}")
    assert first.pull() == []
    assert first.records() == [later] and first.samples_sound(later)


def test_what_was_removed_elsewhere_but_written_here_since_stays(machine, make_record) -> None:
    run = machine("a")
    record = write(run, make_record())
    run.push(record)
    run.store.delete(f"records/{run.record_path(record.case).name}")
    later = write(run, replace(record, created="later"))
    run.pull()
    assert run.records() == [later]
    assert run.finish() == [] and machine("b").records() == [later]


def test_what_changed_elsewhere_gives_way_to_what_was_written_here_later(machine, make_record) -> None:
    first, second = machine("a"), machine("b")
    for run in (first, second):
        run.push(write(run, replace(make_record(), created="2026-11-01T00:00:00+00:00")))
    second.push(write(second, replace(make_record(), created="2026-11-02T00:00:00+00:00")))
    latest = write(first, replace(make_record(), created="2026-11-03T00:00:00+00:00"), seed=1)
    assert first.pull() == [] and first.records() == [latest]
    assert first.finish() == [] and machine("c").records() == [latest]
    older = write(first, replace(make_record(), created="2026-11-01T12:00:00+00:00"))
    write(second, replace(make_record(), created="2026-11-04T00:00:00+00:00"))
    second.finish()
    assert first.pull() == [] and first.records() != [older]


def test_a_name_of_somebody_else_s_making_leads_nowhere_else(machine, make_record, tmp_path, monkeypatch) -> None:
    run = machine("a")
    record = write(run, make_record())
    run.push(record)
    name = f"records/{run.record_path(record.case).name}"
    victim = tmp_path / "a" / Path(name).name
    victim.write_bytes(run.record_path(record.case).read_bytes())
    evil = f"records/../../{victim.name}"
    names, get = Store.names, Store.get
    monkeypatch.setattr(Store, "names", lambda self, prefix="": {**names(self, prefix), evil: "1"})
    monkeypatch.setattr(Store, "get", lambda self, what, into: get(self, name if what == evil else what, into))
    run.pull()
    monkeypatch.setattr(Store, "names", names)
    run.pull()
    assert victim.exists()


def test_a_store_that_fails_is_told_once_and_has_all_in_the_end(machine, make_record, monkeypatch) -> None:
    run = machine("a")
    put, calls = Store.put, []

    def fails(self: Store, path: Path, name: str) -> None:
        calls.append(name)
        raise StoreError(f"{self.url}: could not write {name}")

    monkeypatch.setattr(Store, "put", fails)
    for backbone in ("swav", "moco", "byol"):
        run.push(write(run, make_record(backbone)))
    assert len(calls) == 1 and len(run.told) == 1
    assert "shared at the end" in run.told[0]
    (told,) = run.finish()
    assert f"Not everything of this run is in {run.store.url}" in told and str(run.directory) in told
    monkeypatch.setattr(Store, "put", put)
    assert run.finish() == []
    assert len(machine("b").records()) == 3


def test_tables_go_along_and_hidden_files_do_not(machine, make_record) -> None:
    run = machine("a")
    run.push(write(run, make_record()))
    for name in ("summary.csv", "figures/one.svg", "engine/1/1.ended", ".lease.json", "report.html.1-a.tmp"):
        path = run.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert run.finish() == []
    assert [name for name in names(run) if name.partition("/")[0] not in ("records", "samples")] == [
        "figures/one.svg",
        "summary.csv",
    ]
    assert run.store.read("summary.csv") == b"summary.csv"


def test_a_path_in_a_record_leads_nowhere_else(machine, make_record, tmp_path) -> None:
    run = machine("a")
    record = write(run, make_record())
    secret = tmp_path / "a/secret"
    secret.write_text("x")
    evil = replace(record, samples={"path": "../../secret", "sha256": "0"})
    assert not run.samples_sound(evil)
    assert secret.read_text() == "x"


def test_a_marker_that_is_damaged_costs_only_another_look(machine, make_record) -> None:
    first = machine("a")
    record = write(first, make_record())
    first.push(record)
    (first.directory / ".shared.json").write_text("{ half")
    assert first.pull() == [] and first.records() == [record]
    assert json.loads((first.directory / ".shared.json").read_text())


def test_a_record_that_was_damaged_there_is_mended_by_whoever_has_it(machine, make_record) -> None:
    first = machine("a")
    record = write(first, make_record(correct=[True, False]))
    first.push(record)
    (name,) = (name for name in names(first) if name.startswith("records/"))
    sound = first.store.read(name)
    first.store.write(name, b"{")
    (told,) = first.pull()
    assert "damaged record" in told and first.read(record.case) == record
    assert first.finish() == [] and first.store.read(name) == sound
    assert machine("b").read(record.case) == record
