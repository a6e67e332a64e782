"""`--sslbench-plan`: the plan of what a session has collected."""

from __future__ import annotations

import pytest

from sslbench.cli import main
from tests.plugin.conftest import BOTH, Project

KNN = ("--sslbench-backbones=tiny,blurred", "--sslbench-tasks=knn/pair,knn/digits")


def output(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def test_what_a_conftest_registers_is_planned_and_nothing_runs(project: Project) -> None:
    result = project.run("--sslbench-plan=2xcpu", *KNN, "-k", "not blurred")
    assert result.ret == 0
    assert "# chosen: 2 cases on 2 processes (cpu, as asked for)" in output(result)
    assert "Not estimated, 2: tiny|knn/digits, tiny|knn/pair" in output(result)
    assert not any(result.parseoutcomes().get(word) for word in ("passed", "failed", "errors"))
    assert not (project.path / "results").exists()


def test_it_is_the_text_of_the_command(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    planned = project.run("-q", "--sslbench-plan=8xh100", "--sslbench-backbones=pixels,zoo:simclr", *BOTH)
    capsys.readouterr()
    told = ["--backbones", "pixels,zoo:simclr", "--tasks", BOTH[1], "--gpus", "8", "--device", "h100"]
    assert main(["plan", *told, "--cache", str(project.cache), "--results", str(project.path / "results")]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = planned.outlines.index(lines[0])
    assert planned.outlines[start : start + len(lines)] == lines


def test_records_count_unless_they_are_to_be_made_again_and_tell_what_a_case_takes(project: Project) -> None:
    project.run(*KNN, "-k", "tiny and pair").assert_outcomes(passed=1, deselected=4)
    plan = ("--sslbench-plan=1xcpu", *KNN, "-k", "tiny")
    assert "1 have a record that counts in" in output(project.run(*plan))
    again = output(project.run(*plan, "--sslbench-rerun=all"))
    assert "0 have a record that counts in" in again
    # No network of its kind is known but by its record.
    assert "Not estimated, 1: tiny|knn/digits" in again


def test_with_xdist_and_an_engine_nothing_runs_either(project: Project) -> None:
    result = project.run("--sslbench-plan=1xcpu", "-n2", "--sslbench-engine=nowhere", *KNN)
    assert result.ret == 0
    assert "# chosen: 4 cases on 1 process (cpu, as asked for)" in output(result)
    assert (
        "The engine nowhere was not asked: its machines and --sslbench-engine-options are not in this plan"
        in output(result)
    )


def test_other_tests_are_not_run_and_a_module_that_cannot_be_imported_ends_it(project: Project) -> None:
    (project.path / "test_other.py").write_text("def test_it(): assert False")
    assert project.run("--sslbench-plan=1", *KNN).ret == 0
    (project.path / "test_other.py").write_text("import nothing_of_that_name")
    broken = project.run("--sslbench-plan=1", *KNN)
    assert broken.ret == pytest.ExitCode.INTERRUPTED
    assert "cases on" not in output(broken)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sslbench-plan=0",), "ERROR: --sslbench-plan takes N[[]xDEVICE], * got '0'"),
        (("--sslbench-plan=h100",), "ERROR: --sslbench-plan takes N[[]xDEVICE], * got 'h100'"),
        (("--sslbench-plan=2xabacus",), "ERROR: unknown device 'abacus'*"),
        (("--sslbench-plan=1", "--sslbench-backbones=tinny"), "ERROR: *tinny*tiny*"),
    ],
    ids=str,
)
def test_bad_input_is_one_error(project: Project, arguments: tuple[str, ...], said: str) -> None:
    result = project.run(*KNN, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    # What is wrong with the option itself is told before any test is collected.
    assert ("collected" in result.stdout.str()) == ("tinny" in said)


def test_a_store_that_cannot_be_reached_is_asked_briefly(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    from tests.store.faulty import FaultyFileSystem

    monkeypatch.setattr("sslbench.store.store.WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr("sslbench.store.store._BRIEF", 0.0)
    monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(project.path / "cache"))
    FaultyFileSystem.reset(rate=1.0, most=10**6)
    result = project.run("--sslbench-plan=1", "--sslbench-results=faulty://bucket/results", *KNN)
    calls = FaultyFileSystem.calls
    FaultyFileSystem.reset()
    assert result.ret == pytest.ExitCode.USAGE_ERROR and calls == 1
    result.stderr.fnmatch_lines(["ERROR: faulty://bucket/results/chosen: * Expected a store that can be read: *"])


def test_without_a_case_there_is_nothing_to_plan(project: Project) -> None:
    project.tests("def test_it(): assert False")
    result = project.run("--sslbench-plan=1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --sslbench-plan: none of the collected tests asks for a case*"])


def test_a_shard_may_have_nothing_to_plan(project: Project) -> None:
    (project.path / "test_other.py").write_text("def test_it(): assert False")
    result = project.run("--sslbench-plan=1", "--sslbench-shard=99/99", *KNN)
    assert result.ret == 0
    assert "shard 99/99: 0 of" in output(result)


def test_what_is_not_known_is_told_in_the_sums_too(project: Project) -> None:
    text = output(project.run("--sslbench-plan=99999999999xh100", *KNN, "-k", "tiny"))
    assert "0 s + 2 unknown |" in text
    assert "On 99999999999 (without the 2 unknown): " in text


def test_records_of_another_machine_count_where_results_are_shared(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = (*KNN, f"--sslbench-results=file://{project.path}/store", "-k", "tiny and pair")
    for machine, plan in (("one", ()), ("two", ("--sslbench-plan=1xcpu",))):
        monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(project.path / machine))
        result = project.run(*shared, *plan)
        assert result.ret == 0
    assert "1 have a record that counts in" in output(result)
