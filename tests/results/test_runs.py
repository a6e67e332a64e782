"""Runs on disk."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from sslbench.errors import CacheWarning, RecordError
from sslbench.files import write_atomic
from sslbench.results.pairing import compare_records
from sslbench.results.record import dump, pack_paired, slug, unpack_paired
from sslbench.results.references import read_records
from sslbench.results.runs import Run, latest_run, open_records, read_record, write_baseline


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path / "results/mine")


def test_a_record_comes_back_as_it_was_written(run, make_record):
    record = make_record(correct=[True, False, True])
    path = run.write(record)
    assert path == run.record_path(record.case)
    assert read_record(path) == record
    assert run.read(record.case) == record
    content = path.read_bytes()
    run.write(record)
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_case_that_never_ran_is_none(run):
    assert run.read("swav|linear/digits") is None
    assert run.records() == []


def test_records_are_sorted_by_case(run, make_record):
    for name in ("c", "a", "b"):
        run.write(make_record(name))
    assert [record.backbone["name"] for record in run.records()] == ["a", "b", "c"]


DAMAGES = {
    "empty": lambda data: "",
    "cut": lambda data: json.dumps(data)[:100],
    "not an object": lambda data: "[]",
    "another schema": lambda data: json.dumps({**data, "schema_version": 99}),
    "no schema": lambda data: json.dumps({name: data[name] for name in data if name != "schema_version"}),
    "a missing field": lambda data: json.dumps({name: data[name] for name in data if name != "key"}),
    "an unknown field": lambda data: json.dumps({**data, "mood": "good"}),
    "a main score that is not there": lambda data: json.dumps({**data, "main_score": "f1"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_record_is_reported_and_left_out(run, make_record, damage):
    sound, broken = make_record("a"), make_record("b")
    run.write(sound)
    path = run.write(broken)
    path.write_text(DAMAGES[damage](broken.to_json()))
    with pytest.warns(CacheWarning, match=r"left out") as caught:
        assert run.records() == [sound]
    assert len(caught) == 1
    assert str(path) in str(caught[0].message)
    with pytest.warns(CacheWarning, match="running the case again"):
        assert run.read(broken.case) is None
    with pytest.raises(RecordError):
        read_record(path)


def test_samples_lie_beside_the_records_with_their_digest(run, make_record):
    arrays = {"decision": np.arange(6, dtype=np.float32).reshape(2, 3), "targets": np.array([0, 2])}
    run.check_writable()
    told = run.write_samples("swav|linear/digits", arrays)
    path = run.record_path("swav|linear/digits").parent / told["path"]
    assert path.resolve().parent == (run.directory / "samples").resolve()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == told["sha256"]
    found = load_file(path)
    assert {name: array.tolist() for name, array in found.items()} == {n: a.tolist() for n, a in arrays.items()}


def test_file_names_are_readable_safe_and_unique():
    cases = ("net|knn/a", "net|knn_a", "net/knn|a", "../../net|knn/a", "x" * 500, "x" * 501, "é|ü")
    names = [slug(case) for case in cases]
    assert len(set(names)) == len(names)
    assert all("/" not in name and len(name.encode()) < 200 for name in names)
    assert names[0].startswith("net_knn_a-")


def test_a_baseline_is_the_records_without_samples(run, make_record, tmp_path):
    records = [make_record(name) for name in ("b", "a")]
    for record in records:
        object.__setattr__(record, "samples", {"path": "../samples/x", "sha256": "0"})
    path = tmp_path / "deep/base.json"
    write_baseline(records, path)
    saved = read_records(path)
    assert [record.backbone["name"] for record in saved] == ["a", "b"]
    assert all(record.samples is None for record in saved)
    assert {**saved[1].to_json(), "samples": records[0].samples} == records[0].to_json()
    content = path.read_bytes()
    write_baseline(records[::-1], path)
    assert path.read_bytes() == content


def test_the_latest_run_is_the_one_whose_records_changed_last(tmp_path, make_record):
    for age, name in ((300, "a"), (100, "b"), (200, "c")):
        run = Run(tmp_path / name)
        run.write(make_record())
        os.utime(run.directory / "records", (10_000 - age, 10_000 - age))
    (tmp_path / "baselines").mkdir()
    assert latest_run(tmp_path) == Run(tmp_path / "b")


def test_no_run_yet(tmp_path):
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(RecordError, match="no run below"):
            latest_run(place)


def test_records_by_run_name_directory_file_or_baseline(tmp_path, make_record):
    run = Run(tmp_path / "results/mine")
    one, two = make_record("a"), make_record("b")
    path = run.write(one)
    run.write(two)
    write_baseline([two], tmp_path / "base.json")
    assert open_records("mine", tmp_path / "results") == [one, two]
    assert open_records(str(run.directory), tmp_path) == [one, two]
    assert open_records(str(path), tmp_path) == [one]
    assert open_records(str(tmp_path / "base.json"), tmp_path) == [two]
    with pytest.raises(RecordError, match="'lost' is neither a record, a baseline file, nor a run directory"):
        open_records("lost", tmp_path)


def test_a_directory_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RecordError, match=r"cannot be written.*--sslbench-results=DIR or SSLBENCH_RESULTS"):
        Run(blocked / "mine").check_writable()
    Run(tmp_path / "fine").check_writable()
    assert list((tmp_path / "fine/records").iterdir()) == []


@pytest.mark.parametrize("n", [1, 7, 8, 9, 359])
def test_outcomes_come_back_bit_by_bit(n):
    right = np.random.default_rng(n).random(n) < 0.5
    assert unpack_paired(pack_paired("correct", right, "x")).tolist() == right.tolist()
    counts = np.random.default_rng(n).integers(0, 76, n)
    packed = pack_paired("episodes", counts, "x", per_episode=75)
    assert unpack_paired(packed).tolist() == counts.tolist()
    assert (packed["n"], packed["per_episode"]) == (n, 75)
    scores = np.append(np.random.default_rng(n).normal(60, 5, n), np.nan).astype(np.float32)
    np.testing.assert_array_equal(unpack_paired(pack_paired("resamples", scores, "x", images=40)), scores)


def test_a_record_of_schema_one_is_read_with_its_one_reference(run, make_record):
    record = make_record(reference={"value": 91.0, "tolerance": 1.0, "source": "own", "how": "max"}, verdict="within")
    old = record.to_json()
    old |= {"schema_version": 1, "reference": {"value": 91.0, "tolerance": 1.0, "source": "own", "how": "max"}}
    del old["references"]
    write_atomic(run.record_path(record.case), dump(old))
    assert run.read(record.case) == record
    old["reference"] = None
    write_atomic(run.record_path(record.case), dump(old))
    assert run.read(record.case).references == {}


@pytest.mark.parametrize(
    ("data", "told"),
    [("AAAA", "10 of them .correct. take 2 bytes, got 3"), ("", "got 0"), (None, "NoneType"), ("%%", "")],
)
def test_damaged_outcomes_are_told_and_never_filled_up(data, told, make_record):
    paired = {**pack_paired("correct", np.ones(10, bool), "items"), "data": data}
    with pytest.raises(ValueError, match=told):
        unpack_paired(paired)
    good, bad = make_record(correct=[True] * 10), make_record(correct=[True] * 10)
    with pytest.raises(RecordError, match=r"cannot be paired"):
        compare_records(good, replace(bad, paired={**bad.paired, "data": data}))


def test_right_answers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="0 to 255, got 3 to 300"):
        pack_paired("episodes", np.array([3, 300]), "items", per_episode=500)


def test_records_of_a_protocol_that_is_not_known_here_are_read(run, make_record):
    record = make_record(task="centroid/digits")
    run.write(record)
    assert run.records() == [record]
