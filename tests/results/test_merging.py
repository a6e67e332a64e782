"""Runs of several machines as one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sslbench.errors import RecordError
from sslbench.results import merging
from sslbench.results.merging import find_runs, merge_runs, missing_cases
from sslbench.results.record import Record
from sslbench.results.runs import Run
from tests.results.conftest import build


def stored(run: Run, backbone: str, day: int = 1, key: str = "", value: float = 90.0) -> Record:
    """A record with samples in a run; its time and samples tell the day."""
    record = build(backbone, value=value)
    run.check_writable()
    samples = run.write_samples(record.case, {"decision": np.full(3, float(day))})
    record = replace(record, samples=samples, created=f"2026-11-{day:02}T01:00:00+00:00", key=key or record.key)
    run.write(record)
    return record


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def parts(tmp_path: Path) -> list[Run]:
    runs = [Run(tmp_path / f"part{number}" / "embedded") for number in (1, 2)]
    stored(runs[0], "a")
    stored(runs[0], "b")
    stored(runs[1], "c")
    return runs


@pytest.fixture
def into(tmp_path: Path) -> Run:
    return Run(tmp_path / "merged")


def test_records_and_samples_of_all_runs(parts: list[Run], into: Run) -> None:
    merged = merge_runs(parts, into)
    assert [record.backbone["name"] for record in merged.records] == ["a", "b", "c"] and merged.written == 3
    assert (merged.dropped, merged.twice, merged.replaced) == ([], [], [])
    assert merged.records == sorted([*parts[0].records(), *parts[1].records()], key=lambda record: record.case)
    assert all(map(into.samples_sound, merged.records))


def test_merging_again_changes_nothing(parts: list[Run], into: Run) -> None:
    merge_runs(parts, into)
    before = content(into.directory)
    assert merge_runs(parts, into).written == 0 and merge_runs([], into).written == 0
    assert merge_runs([*parts, into, *parts], into).written == 0
    assert content(into.directory) == before


@pytest.mark.parametrize("writes", range(6))
def test_an_interrupted_merge_is_made_good(
    parts: list[Run], into: Run, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    merge_runs(parts, Run(into.directory.with_name("whole")))
    done: list[Path] = []

    def write(path: Path, data: bytes) -> None:
        if len(done) == writes:
            raise KeyboardInterrupt
        done.append(path)
        path.write_bytes(data)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(merging, "write_atomic", write)
        merge_runs(parts, into)
    # What is there is sound: no record without its samples.
    assert all(map(into.samples_sound, into.records()))
    merge_runs(parts, into)
    assert content(into.directory) == content(into.directory.with_name("whole"))


@pytest.mark.parametrize("turned", [False, True])
def test_of_records_with_one_key_the_newest_counts_whatever_the_order(
    parts: list[Run], into: Run, turned: bool
) -> None:
    newer = stored(parts[1], "a", day=3, value=91.0)
    merged = merge_runs(parts[::-1] if turned else parts, into)
    assert merged.twice == [newer.case] and merged.records[0] == newer
    assert load_file(into.directory / "records" / newer.samples["path"])["decision"].tolist() == [3.0] * 3


def test_times_are_compared_as_times(parts: list[Run], into: Run) -> None:
    # 01:00 at UTC-5 is 06:00 UTC, though its text sorts before.
    record = stored(parts[1], "a", value=91.0)
    parts[1].write(replace(record, created="2026-11-01T01:00:00-05:00"))
    assert merge_runs(parts, into).records[0].main.value == 91.0


def test_other_keys_are_one_error_before_anything_is_written(parts: list[Run], into: Run) -> None:
    stored(parts[1], "a", day=2, key="another")
    with pytest.raises(RecordError) as caught:
        merge_runs(parts, into)
    told = str(caught.value)
    assert told.startswith("1 case(s) have records of different keys") and "--newest" in told
    assert "part1/embedded (key key of a lin, 2026-11-01" in told and "part2/embedded (key another, 2026-11-02" in told
    assert not into.directory.exists()


def test_the_newest_of_other_keys_where_that_is_asked_for(parts: list[Run], into: Run) -> None:
    merge_runs(parts, into)
    newer = stored(parts[1], "a", day=2, key="another")
    with pytest.raises(RecordError, match="different keys"):
        merge_runs(parts, into)
    merged = merge_runs(parts, into, newest=True)
    assert merged.replaced == [newer.case] and merged.records[0] == newer and merged.written == 1
    assert into.samples_sound(merged.records[0])


def test_damaged_records_and_samples_are_left_out_and_told(parts: list[Run], into: Run) -> None:
    first, second = parts[0].records()
    parts[0].record_path(first.case).write_text("{")
    (parts[0].directory / "records" / second.samples["path"]).write_bytes(b"altered")
    merged = merge_runs(parts, into)
    assert [record.backbone["name"] for record in merged.records] == ["c"]
    damaged, altered = merged.dropped
    assert damaged.startswith("damaged record") and damaged.endswith("; left out")
    assert "its samples are damaged" in altered and altered.endswith("; left out")


def test_samples_that_are_gone(parts: list[Run], into: Run) -> None:
    (record,) = parts[1].records()
    (parts[1].directory / "records" / record.samples["path"]).unlink()
    merged = merge_runs(parts, into)
    assert len(merged.records) == 2 and "its samples cannot be read" in merged.dropped[0]


def test_samples_outside_of_the_run_are_not_read(parts: list[Run], into: Run, tmp_path: Path) -> None:
    (record,) = parts[1].records()
    secret = tmp_path / "secret"
    secret.write_bytes((parts[1].directory / "records" / record.samples["path"]).read_bytes())
    parts[1].write(replace(record, samples={**record.samples, "path": "../../../secret"}))
    merged = merge_runs(parts, into)
    assert len(merged.records) == 2 and "outside of the run" in merged.dropped[0]


def test_a_record_that_never_had_samples_is_merged(into: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "plain")
    run.write(build("a"))
    assert merge_runs([run], into).records == [build("a")]


def test_a_damaged_record_of_the_target_is_replaced(parts: list[Run], into: Run) -> None:
    whole = merge_runs(parts, into).records
    into.record_path(whole[0].case).write_text("{")
    merged = merge_runs(parts, into)
    assert merged.records == whole and merged.written == 1


def test_runs_are_found_in_artefacts(parts: list[Run], tmp_path: Path) -> None:
    assert find_runs(parts[0].directory) == [parts[0]]
    assert find_runs(tmp_path / "part1") == [parts[0]]
    assert find_runs(tmp_path) == parts
    with pytest.raises(RecordError, match="no run at"):
        find_runs(tmp_path / "part1" / "embedded" / "samples")
    stored(Run(tmp_path / "part1" / "chosen"), "a")
    with pytest.raises(RecordError, match="runs of several names, chosen, embedded; name those"):
        find_runs(tmp_path)
    assert find_runs(tmp_path, tmp_path / "part1/../part1/chosen") == parts
    assert find_runs(tmp_path / "part1/chosen", tmp_path / "part1/chosen") == [Run(tmp_path / "part1/chosen")]


def test_missing_cases() -> None:
    assert missing_cases([build("a")], ["b|linear/digits", "a|linear/digits", "a|knn/digits"]) == [
        "a|knn/digits",
        "b|linear/digits",
    ]


def test_a_time_that_is_none_is_told(parts: list[Run], into: Run) -> None:
    (record,) = parts[1].records()
    path = parts[1].record_path(record.case)
    path.write_text(json.dumps({**record.to_json(), "created": "yesterday"}))
    assert "expected a time in `created`, got 'yesterday'" in merge_runs(parts, into).dropped[0]
