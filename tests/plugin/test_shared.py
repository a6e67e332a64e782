"""Caches and results by URL: what one machine has done, another one does not do again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sslbench.backbones.fixed_outputs import PICTURES
from sslbench.store.shared import shared_files
from sslbench.store.store import Store
from tests.plugin.test_xdist import stable

CHOSEN = ("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/digits,knn/pair")


@pytest.fixture
def machine(project, monkeypatch, tmp_path):
    """Runs as one of several machines: gives the result, and how many pictures went through a network."""
    count = tmp_path / "count"
    monkeypatch.setenv("COUNT", str(count))
    url = f"file://{tmp_path}/store"

    def run(name: str, *options: str, urls=(f"--sslbench-cache={url}/cache", f"--sslbench-results={url}/results")):
        monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(tmp_path / name))
        shared_files.cache_clear()
        count.unlink(missing_ok=True)
        result = project.run(*CHOSEN, *urls, *options)
        batches = [int(line.split()[1]) for line in count.read_text().splitlines()] if count.exists() else []
        return result, sum(batch for batch in batches if batch != PICTURES)

    run.store, run.url = Store(url), url
    return run


def records(directory: Path) -> dict[str, dict]:
    found = [json.loads(path.read_bytes()) for path in directory.rglob("records/*.json")]
    return {record["case"]: record for record in found}


def test_a_second_machine_runs_nothing_again(machine, project, tmp_path):
    result, pictures = machine("a")
    result.assert_outcomes(passed=2)
    assert pictures == 1797 + 60
    result.stdout.fnmatch_lines(
        [f"records, tables and report: {tmp_path}/a/results/*/chosen and {machine.url}/results/chosen"]
    )
    names = machine.store.names()
    assert {"/".join(name.split("/")[:-1]) for name in names if name.startswith("results")} == {
        "results/chosen",
        "results/chosen/records",
        "results/chosen/samples",
    }
    before = records(tmp_path / "a")
    result, pictures = machine("b")
    result.assert_outcomes(passed=2)
    assert pictures == 0
    # Not merely from features: the records themselves.
    assert records(tmp_path / "b") == before
    # And these are what a run without any store gives.
    project.ini(sslbench_cache=str(tmp_path / "plain"))
    project.run(*CHOSEN, "--sslbench-results=plain").assert_outcomes(passed=2)
    assert stable(project.records("plain")) == stable(before)


def test_features_alone_may_be_shared(machine, project):
    options = (f"--sslbench-cache={machine.url}/cache",)
    assert machine("a", "--sslbench-results=first", urls=options)[1] == 1797 + 60
    assert machine("b", "--sslbench-results=second", urls=options)[1] == 0
    assert stable(project.records("first")) == stable(project.records("second"))
    assert len(project.records("first")) == 2


def test_the_environment_and_the_ini_file_take_urls(machine, project, monkeypatch, tmp_path):
    monkeypatch.setenv("SSLBENCH_CACHE", f"{machine.url}/cache")
    monkeypatch.setenv("SSLBENCH_RESULTS", f"{machine.url}/results")
    result, pictures = machine("a", urls=())
    result.assert_outcomes(passed=2)
    assert pictures
    monkeypatch.delenv("SSLBENCH_CACHE")
    monkeypatch.delenv("SSLBENCH_RESULTS")
    project.ini(sslbench_cache=f"{machine.url}/cache", sslbench_results=f"{machine.url}/results")
    result, pictures = machine("b", urls=())
    result.assert_outcomes(passed=2)
    assert not pictures and records(tmp_path / "b") == records(tmp_path / "a")


def test_a_damaged_record_is_told_and_its_case_runs_again(machine, tmp_path):
    machine("a")
    name, _ = sorted(name for name in machine.store.names() if "/records/" in name)
    whole = machine.store.read(name)
    machine.store.write(name, whole[:50])
    result, _ = machine("b")
    result.assert_outcomes(passed=2)
    assert f"{machine.url}/{name}" in result.stdout.str() and "left out" in result.stdout.str()
    assert len(records(tmp_path / "b")) == 2
    again = json.loads(machine.store.read(name))
    assert stable({"": again}) == stable({"": json.loads(whole)})


@pytest.mark.parametrize("option", ["cache", "results"])
def test_a_store_that_cannot_be_used_ends_the_session_before_anything_runs(machine, tmp_path, option):
    (tmp_path / "file").touch()
    result, pictures = machine("a", urls=(f"--sslbench-{option}=file://{tmp_path}/file/x",))
    assert result.ret == pytest.ExitCode.USAGE_ERROR and pictures == 0
    error = result.stderr.str()
    assert f"file://{tmp_path}/file/x" in error and "Expected a store that can be written" in error


def test_data_have_no_url(machine):
    result, _ = machine("a", "--sslbench-data=s3://bucket/data", urls=())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "s3://bucket/data: expected a directory here" in result.stderr.str()


def test_a_store_that_is_gone_in_the_end_is_told_and_the_session_passes(machine, monkeypatch, tmp_path):
    from sslbench.errors import StoreError

    def fails(self: Store, path: Path, name: str) -> None:
        raise StoreError(f"{self.url}: could not write {name}: gone")

    monkeypatch.setattr(Store, "put", fails)
    result, _ = machine("a", urls=(f"--sslbench-results={machine.url}/results",))
    result.assert_outcomes(passed=2)
    assert "Not everything of this run is in" in result.stdout.str()
    monkeypatch.undo()


def test_workers_of_one_machine_share_its_copy(machine, project, monkeypatch, tmp_path):
    pytest.importorskip("xdist")
    monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(tmp_path / "a"))
    urls = (f"--sslbench-cache={machine.url}/cache", f"--sslbench-results={machine.url}/results")
    project.run(*CHOSEN, *urls, "-n", "2").assert_outcomes(passed=2)
    result, pictures = machine("b")
    result.assert_outcomes(passed=2)
    assert pictures == 0 and records(tmp_path / "b") == records(tmp_path / "a")
