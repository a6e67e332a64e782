"""What is run again and what is not."""

from __future__ import annotations

import json

import pytest

from sslbench.backbones.fixed_outputs import PICTURES
from tests.plugin.conftest import TINY

CHOSEN = ("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/digits,fewshot/digits/5shot")
PAIR = ("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/pair")

REFERENCE = """
import json, pathlib
import pytest
from sslbench.results import references
from sslbench.results.record import Record

@pytest.fixture(autouse=True)
def _references(monkeypatch):
    path = pathlib.Path("reference.json")
    records = [Record.from_json(item) for item in json.loads(path.read_bytes())] if path.exists() else []
    monkeypatch.setattr(references, "embedded_references", lambda: {record.case: record for record in records})
"""


@pytest.fixture
def count(project, monkeypatch):
    """The images that went through a network since the last call, without those by which it is known again."""
    path = project.path / "count.txt"
    monkeypatch.setenv("COUNT", str(path))

    def images() -> int:
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        batches = [int(line.split()[1]) for line in lines]
        return sum(batch for batch in batches if batch != PICTURES)

    return images


def demand(project, case: str, value: float) -> None:
    """Make `value` the reference of a case that has run."""
    record = project.records()[case]
    record["scores"][record["main_score"]]["value"] = value
    project.path.joinpath("reference.json").write_text(json.dumps([record]))
    project.conftest(project.path.joinpath("conftest.py").read_text() + REFERENCE)


def test_a_second_run_executes_nothing(project, count, tmp_path):
    project.ini(sslbench_cache=str(tmp_path / "cold"))
    project.run(*CHOSEN).assert_outcomes(passed=2)
    assert count() == 1797
    before = project.written()
    assert len(before) == 2
    result = project.run(*CHOSEN)
    result.assert_outcomes(passed=2)
    assert project.written() == before
    assert count() == 0
    # The table shows resumed cases too.
    assert "tiny" in result.stdout.str().partition("sslbench chosen tasks")[2]


def test_a_second_run_needs_no_features(project, count, tmp_path):
    project.ini(sslbench_cache=str(tmp_path / "one"))
    project.run(*PAIR)
    assert count() == 60
    project.ini(sslbench_cache=str(tmp_path / "two"))
    project.run(*PAIR).assert_outcomes(passed=1)
    assert count() == 0


@pytest.mark.parametrize("how", ["cli", "ini"])
def test_rerun_all_runs_every_case_on_cached_features(project, count, how):
    project.run(*CHOSEN).assert_outcomes(passed=2)
    before = project.written()
    count()
    if how == "ini":
        project.ini(sslbench_rerun="all")
    project.run(*CHOSEN, *(("--sslbench-rerun", "all") if how == "cli" else ())).assert_outcomes(passed=2)
    after = project.written()
    assert after.keys() == before.keys()
    assert all(after[name][0] > before[name][0] for name in before)
    assert count() == 0


def test_rerun_failed_runs_the_missed_references_only(project):
    project.run(*CHOSEN)
    demand(project, "tiny|knn/digits", 99.9)
    before = project.written()
    project.run(*CHOSEN).assert_outcomes(passed=1, failed=1)
    assert project.written() == before
    project.run(*CHOSEN, "--sslbench-rerun", "failed").assert_outcomes(passed=1, failed=1)
    after = project.written()
    changed = [name for name in before if after[name] != before[name]]
    assert len(changed) == 1
    assert changed[0].startswith("tiny_knn_digits")


def test_rerun_missing_runs_a_removed_record_only(project):
    project.run(*CHOSEN)
    before = project.written()
    removed = next(path for path in project.record_files() if "knn" in path.name)
    removed.unlink()
    project.run(*CHOSEN, "--sslbench-rerun", "missing").assert_outcomes(passed=2)
    after = project.written()
    assert after.keys() == before.keys()
    assert [name for name in before if after[name] != before[name]] == [removed.name]


@pytest.mark.parametrize("damage", ["cut", "schema", "list", "field", "score"])
def test_a_damaged_record_is_reported_and_run_again(project, damage):
    project.run(*PAIR).assert_outcomes(passed=1)
    (path,) = project.record_files()
    sound = json.loads(path.read_bytes())
    broken = {
        "cut": path.read_text()[: path.stat().st_size // 2],
        "schema": json.dumps({**sound, "schema_version": 99}),
        "list": "[]",
        "field": json.dumps({name: value for name, value in sound.items() if name != "paired"}),
        "score": json.dumps({**sound, "scores": {"top1": {"value": 1.0}}}),
    }
    path.write_text(broken[damage])
    result = project.run(*PAIR)
    result.assert_outcomes(passed=1, warnings=1)
    assert "CacheWarning" in result.stdout.str()
    assert "running the case again" in " ".join(result.stdout.str().split())
    assert json.loads(path.read_bytes())["scores"] == sound["scores"]


def test_a_damaged_record_of_another_case_does_not_stop_the_run(project):
    project.run(*PAIR)
    foreign = project.path / "results/chosen/records/foreign.json"
    foreign.write_text("{")
    result = project.run(*PAIR)
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    assert foreign.read_text() == "{"


def test_another_ingredient_makes_it_another_case(project):
    """A record made with other weights under the same name is not taken for this one's."""
    project.run(*PAIR)
    before = project.written()
    text = project.path.joinpath("conftest.py").read_text()
    project.conftest(text.replace("class Tiny(nn.Module):", "class Tiny(nn.Module):\n    mean = (0.0, 0.0, 0.0)\n"))
    project.run(*PAIR).assert_outcomes(passed=1)
    after = project.written()
    assert after.keys() == before.keys()
    (old,), (new,) = ([json.loads(content)["key"] for _, content in files.values()] for files in (before, after))
    assert old != new


def test_an_interrupted_run_is_taken_up_where_it_stopped(project, monkeypatch):
    project.tests("""
import os
import pytest

@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_record): pass

def test_stop():
    if "STOP" in os.environ:
        raise KeyboardInterrupt

@pytest.mark.sslbench(protocol="fewshot")
def test_fewshot(sslbench_record): pass
""")
    monkeypatch.setenv("STOP", "1")
    result = project.run_alone(*CHOSEN)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert set(project.records()) == {"tiny|knn/digits"}
    assert (project.path / "results/chosen/summary.csv").read_text().count("tiny") == 1
    before = project.written()
    monkeypatch.delenv("STOP")
    project.run(*CHOSEN).assert_outcomes(passed=3)
    after = project.written()
    assert set(project.records()) == {"tiny|knn/digits", "tiny|fewshot/digits/5shot"}
    assert {name: after[name] for name in before} == before
    assert (project.path / "results/chosen/summary.csv").read_text().count("tiny") == 2


def test_a_missed_reference_fails_the_case_and_says_by_how_much(project):
    project.run(*PAIR, "--sslbench-tasks", "knn/digits").assert_outcomes(passed=1)
    (record,) = project.records().values()
    score = record["scores"]["top1"]
    demand(project, "tiny|knn/digits", 99.5)
    result = project.run("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/digits", "--sslbench-rerun", "all")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert f"top1 {score['value']:.2f} ± {score['stderr']:.2f} % is below the reference 99.50" in text
    tolerance = max(0.5, 2 * score["stderr"])
    assert f"by more than the tolerance {tolerance:.2f}" in text
    assert f"2 x standard error {score['stderr']:.2f}" in text
    assert f"own run of {record['created'][:10]} on {record['environment']['cpu']}" in text
    assert "▼" in text.partition("sslbench embedded")[2]
    (record,) = project.records().values()
    assert record["verdict"] == "below"
    assert record["references"]["top1"]["value"] == 99.5
    assert record["references"]["top1"]["tolerance"] == pytest.approx(tolerance)


@pytest.mark.parametrize(("value", "verdict"), [(93.0, "within"), (50.0, "above")])
def test_a_reference_met_or_exceeded_passes(project, value, verdict):
    chosen = ("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/digits")
    project.run(*chosen)
    demand(project, "tiny|knn/digits", value)
    project.run(*chosen, "--sslbench-rerun", "all").assert_outcomes(passed=1)
    assert project.records()["tiny|knn/digits"]["verdict"] == verdict


def test_a_record_of_an_earlier_version_costs_neither_tables_nor_baseline(project) -> None:
    project.run(*TINY, "--sslbench-tasks=knn/digits,knn/pair")
    (old,) = (path for path in project.record_files() if "pair" in path.name)
    data = json.loads(old.read_bytes())
    data["task"]["version"] = "0"
    old.write_text(json.dumps(data))
    given = [*TINY, "--sslbench-tasks=knn/digits", "--sslbench-results=results", "--sslbench-save-baseline=new.json"]
    result = project.run("-W", "error", *given)
    result.assert_outcomes(passed=1)
    assert (project.path / "new.json").exists()
