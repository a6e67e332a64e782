"""Cases by way of an engine, in this process: what travels, what is told, what is refused."""

from __future__ import annotations

import json

import pytest

from sslbench.engine.engines import local
from sslbench.errors import EngineError
from tests.plugin.conftest import TINY
from tests.plugin.test_matrix import refused

LOCAL = "--sslbench-engine=local"
CHOSEN = (*TINY, "--sslbench-tasks", "knn/digits,fewshot/digits/5shot")


def scored(records):
    """What does not differ between two runs of one case."""
    return {
        case: {name: value for name, value in record.items() if name not in ("timings", "peak_memory", "created")}
        for case, record in records.items()
    }


def test_records_equal_those_of_a_session_without_an_engine(project):
    project.run(*CHOSEN).assert_outcomes(passed=2)
    result = project.run(*CHOSEN, LOCAL, "--sslbench-results", "other")
    result.assert_outcomes(passed=2)
    assert "cases ran on 1 machine by the engine local" in result.outlines
    assert scored(project.records("other")) == scored(project.records())


def test_by_value_too(project):
    project.run(*CHOSEN).assert_outcomes(passed=2)
    options = "--sslbench-engine-options=shared=no"
    project.run(*CHOSEN, LOCAL, options, "--sslbench-results", "other").assert_outcomes(passed=2)
    assert scored(project.records("other")) == scored(project.records())
    for record in project.records("other").values():
        assert (project.path / "other" / "chosen" / "records" / record["samples"]["path"]).is_file()


def test_what_has_a_record_is_not_run_again(project):
    project.run(*CHOSEN, LOCAL).assert_outcomes(passed=2)
    before = project.written()
    project.run(*CHOSEN, LOCAL).assert_outcomes(passed=2)
    assert project.written() == before
    project.run(*CHOSEN, LOCAL, "--sslbench-rerun=all").assert_outcomes(passed=2)
    assert project.written() != before


def test_a_case_that_cannot_run_fails_by_itself_in_a_line(project):
    result = project.run("--sslbench-backbones=tiny,poisoned", "--sslbench-tasks=knn/digits", LOCAL)
    result.assert_outcomes(passed=1, errors=1)
    (line,) = [line for line in result.outlines if line.startswith("poisoned|knn/digits: ")]
    assert "FeatureError: " in line
    assert "Traceback" not in result.stdout.str()


def test_a_case_that_skips_itself_is_skipped_as_without_an_engine(project):
    skipping = (
        "\n\ndef absent():\n    pytest.skip('not on this machine')\n\n\nsslbench.register_backbone('absent', absent)\n"
    )
    conftest = project.path.joinpath("conftest.py").read_text()
    project.conftest(f"import pytest\n{conftest}{skipping}")
    for more in ([], [LOCAL]):
        result = project.run("--sslbench-backbones=absent,tiny", "--sslbench-tasks=knn/digits", "-rs", *more)
        result.assert_outcomes(passed=1, skipped=1)
        assert "not on this machine" in result.stdout.str()


@pytest.mark.parametrize(
    ("body", "outcomes"),
    [
        ("pytest.skip('no licence here')", {"passed": 1, "skipped": 1}),
        ("raise RuntimeError('no licence here')", {"passed": 1, "errors": 1}),
        ("raise SystemExit('no licence here')", {"passed": 1, "errors": 1}),
    ],
    ids=["skip", "error", "exit"],
)
def test_a_dataset_s_loader_ends_its_own_case_alone(project, body, outcomes):
    registered = (
        f"\n\ndef absent(settings):\n    {body}\n\n\nsslbench.register_dataset("
        "DatasetSpec('absent', absent, 2, 'none', 'MIT', 'drawn', protocols=('knn',)))\n"
    )
    project.conftest(f"import pytest\n{project.path.joinpath('conftest.py').read_text()}{registered}")
    chosen = ("--sslbench-backbones=tiny", "--sslbench-tasks=knn/absent,knn/pair")
    result = project.run(*chosen, LOCAL, "-rsE")
    result.assert_outcomes(**outcomes)
    assert "no licence here" in result.stdout.str()
    planned = project.run(*chosen, "--sslbench-plan=1")
    assert planned.ret == 0
    assert "its loader raised" in planned.stdout.str()


def test_what_nobody_waits_for_any_more_is_not_begun(project):
    project.run("--sslbench-backbones=poisoned,tiny", "--sslbench-tasks=knn/digits", LOCAL, "-x").assert_outcomes(
        errors=1
    )
    assert not project.record_files()


@pytest.mark.parametrize("how", ["warning", "error"])
def test_a_damaged_record_is_told_and_made_again(project, how):
    project.run(*CHOSEN, LOCAL).assert_outcomes(passed=2)
    damaged = project.record_files()[0]
    damaged.write_text("{")
    result = project.run(*CHOSEN, LOCAL, f"-W{how}::sslbench.errors.CacheWarning" if how == "error" else "-Wdefault")
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert damaged.name in result.stdout.str()
    if how == "warning":
        result.assert_outcomes(passed=2)
        json.loads(damaged.read_bytes())


def test_where_it_went_wrong_is_told_under_vv(project):
    result = project.run("--sslbench-backbones=poisoned", "--sslbench-tasks=knn/digits", LOCAL, "-vv")
    assert "extract" in result.stdout.str()


def test_a_test_may_ask_for_the_case_beside_its_record(project):
    project.tests(
        """
import pytest

@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_case, sslbench_record):
    assert sslbench_case.key == sslbench_record.key
"""
    )
    project.run(*TINY, "--sslbench-tasks=knn/digits", LOCAL).assert_outcomes(passed=1)


def test_the_grid_of_a_training_is_handed_over_and_gives_the_same(project, monkeypatch):
    chosen = ("--sslbench-backbones=trained", "--sslbench-tasks=finetune/pair/recipe=quick+steps=3+batch=4")
    project.conftest(project.path.joinpath("conftest.py").read_text() + TRAINED)
    project.tests(
        """
import pytest

@pytest.mark.sslbench(protocol="finetune")
def test_tuned(sslbench_record):
    pass
"""
    )
    result = project.run(*chosen, "--sslbench-cache=one")
    result.assert_outcomes(passed=1)
    # As if the trials had run in a process of their own, which had more memory than the last one.
    monkeypatch.setattr("sslbench.training.trial.peak_memory", lambda device: {"rss": 1 << 60, "device": None})
    project.run(*chosen, LOCAL, "--sslbench-cache=two", "--sslbench-results", "other").assert_outcomes(passed=1)
    assert scored(project.records("other")) == scored(project.records())
    peaks = [next(iter(project.records(name).values()))["peak_memory"] for name in ("results", "other")]
    assert 0 < peaks[0]["rss"] < peaks[1]["rss"] == 1 << 60
    assert peaks[0]["device"] is None
    trials = [
        sorted(path.name for path in (project.path / cache / "trials").glob("*.json")) for cache in ("one", "two")
    ]
    assert trials[0] == trials[1]
    assert len(trials[0]) > 2


TRAINED = """

class Trained(nn.Module):
    input_size = 8

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.layer(images).mean((2, 3))


sslbench.register_backbone("trained", Trained)
"""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--sslbench-engine=lokal"], "unknown engine 'lokal'; nearest: local"),
        ([LOCAL, "--sslbench-engine-options=partition=gpu"], "unknown option of the engine local 'partition'"),
        ([LOCAL, "--sslbench-engine-options=shared"], "takes NAME=VALUE"),
        ([LOCAL, "--sslbench-engine-options=shared=perhaps"], "expected yes or no"),
        ([LOCAL, "--sslbench-engine-options=cpus=0"], "expected a number of cores"),
        ([LOCAL, "--sslbench-engine-options=cpus=many"], "cpus=many: expected a number of cores"),
        ([LOCAL, "--sslbench-engine-options=memory=16G"], "memory=16G: expected a number of GiB"),
        (["--sslbench-engine-options=cpus=2"], "without --sslbench-engine"),
        ([LOCAL, "--sslbench-device=cuda:0"], "names one GPU of a machine"),
    ],
)
def test_bad_input_is_told_before_anything_runs(project, options, told):
    result = project.run(*CHOSEN, *options)
    assert told in refused(result)
    assert not project.record_files()


def test_xdist_beside_an_engine_starts_no_worker(project):
    text = refused(project.run(*CHOSEN, LOCAL, "-n2"))
    assert "leave -n out" in text
    assert "workers" not in text
    text = refused(project.run(*CHOSEN, "--sslbench-engine=lokal", "-n2"))
    assert "unknown engine 'lokal'" in text and "workers" not in text
    project.run(*CHOSEN, LOCAL, "-n2", "--collect-only").stdout.fnmatch_lines(["*2 tests collected*"])


def test_an_engine_of_the_ini_file_leaves_xdist_to_tests_without_a_case(project):
    project.ini(sslbench_engine="local", sslbench_device="cpu")
    told = project.run(*CHOSEN, "-n1")
    assert told.ret == pytest.ExitCode.USAGE_ERROR
    assert "leave -n out" in told.stdout.str() + told.stderr.str()
    project.tests("def test_other(): pass")
    project.run("-n1").assert_outcomes(passed=1)


def test_a_session_without_a_case_starts_no_engine(project):
    project.tests("def test_other(): pass")
    project.run("--sslbench-engine=lokal").assert_outcomes(passed=1)


def test_reports_and_baselines_come_out_of_it_as_ever(project):
    project.run(*CHOSEN, LOCAL, "--sslbench-save-baseline=baseline.json").assert_outcomes(passed=2)
    assert len(json.loads((project.path / "baseline.json").read_bytes())) == 2
    assert (project.path / "results" / "chosen" / "report.html").is_file()


def test_who_asks_for_features_alone_computes_here(project):
    project.tests(
        """
import pytest

@pytest.mark.sslbench(protocol="knn")
def test_shape(sslbench_features):
    assert len(sslbench_features.split("test").x)
"""
    )
    project.run(*TINY, "--sslbench-tasks=knn/digits", LOCAL).assert_outcomes(passed=1)
    assert not project.record_files()


def test_a_session_without_a_gpu_knows_the_records_of_cases_that_ask_for_one(project, monkeypatch):
    project.run(*CHOSEN).assert_outcomes(passed=2)
    before = project.written()
    monkeypatch.setattr(local.LocalEngine, "has_gpus", True)
    monkeypatch.setattr(local.LocalEngine, "places", lambda self: [])
    project.run(*CHOSEN, LOCAL, "--sslbench-device=cuda").assert_outcomes(passed=2)
    assert project.written() == before


def test_an_engine_that_is_lost_ends_the_session_with_its_tables(project, monkeypatch):
    collect, calls = local.LocalEngine.collect, []

    def lost(self, seconds):
        calls.append(seconds)
        # After the look at this machine and one case.
        if len(calls) > 2:
            raise EngineError("the head is gone")
        return collect(self, seconds)

    monkeypatch.setattr(local.LocalEngine, "collect", lost)
    result = project.run(*CHOSEN, LOCAL)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: the head is gone" in result.stderr.str()
    assert "the head is gone" not in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert len(project.record_files()) == 1
    assert (project.path / "results" / "chosen" / "report.html").is_file()
