"""Cases and pytest-benchmark: a timing is an extra, and a case is a benchmark to --benchmark-only and --benchmark-skip."""

from __future__ import annotations

import json

import pytest

CHOSEN = ("--sslbench-backbones=tiny", "--sslbench-tasks=knn/pair")
OTHERS = """
def test_other(): pass

def test_own(benchmark):
    benchmark.group = "mine"
    benchmark.pedantic(sum, ([1, 2],), rounds=2)
"""


def test_without_pytest_benchmark(project, monkeypatch):
    project.run(*CHOSEN, "-p", "no:benchmark", "-W", "error").assert_outcomes(passed=1)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for plugins in (["sslbench.plugin"], ["sslbench.plugin", "pytest_benchmark.plugin"]):
        given = [part for plugin in plugins for part in ("-p", plugin)]
        project.run(*CHOSEN, *given, "--sslbench-rerun=all").assert_outcomes(passed=1)
    assert set(project.records()) == {"tiny|knn/pair"}


@pytest.mark.parametrize("rerun", ["all", "missing"])
def test_only_benchmarks_are_cases_too(project, rerun):
    project.tests(project.path.joinpath("test_bench.py").read_text() + OTHERS)
    project.run(*CHOSEN)
    result = project.run(*CHOSEN, "--benchmark-only", f"--sslbench-rerun={rerun}")
    result.assert_outcomes(passed=2, skipped=1)
    project.run(*CHOSEN, "--benchmark-skip", f"--sslbench-rerun={rerun}").assert_outcomes(passed=1, skipped=2)
    project.run(*CHOSEN, "--benchmark-disable", f"--sslbench-rerun={rerun}").assert_outcomes(passed=3)


def test_a_case_asks_for_the_fixture_by_name(project):
    conftest = project.path.joinpath("conftest.py").read_text()
    project.conftest(
        conftest
        + "\ndef pytest_collection_modifyitems(items):\n    for item in items: print('asks:', 'benchmark' in item.fixturenames)\n"
    )
    result = project.run("--collect-only", "-q", *CHOSEN)
    assert [line for line in result.outlines if line.startswith("asks:")] == ["asks: True"] * 2


def test_a_resumed_case_has_no_time_and_no_warning(project):
    project.run(*CHOSEN, "-W", "error").assert_outcomes(passed=1, warnings=0)
    project.run(*CHOSEN, "-W", "error").assert_outcomes(passed=1, warnings=0)
    chosen = ("--sslbench-backbones=tiny,blurred", CHOSEN[1])
    project.run(*chosen, "--benchmark-json=bench.json").assert_outcomes(passed=2, warnings=0)
    benchmarks = json.loads((project.path / "bench.json").read_text())["benchmarks"]
    assert [benchmark["name"] for benchmark in benchmarks] == ["test_knn[blurred-pair]"]


@pytest.mark.parametrize("by", ["group", "name", "func"])
def test_a_users_own_table_has_no_case_whatever_it_is_grouped_by(project, by):
    project.tests(project.path.joinpath("test_bench.py").read_text() + OTHERS)
    result = project.run(*CHOSEN, f"--benchmark-group-by={by}", "--sslbench-rerun=all")
    result.assert_outcomes(passed=3)
    table = result.stdout.str().partition("Name (time in")[2]
    assert "test_own" in table
    assert "test_knn[" not in table


def test_workers_skip_cases_with_other_benchmarks(project):
    pytest.importorskip("xdist")
    project.tests(project.path.joinpath("test_bench.py").read_text() + OTHERS)
    project.run("-n", "1", *CHOSEN, "--benchmark-skip").assert_outcomes(passed=1, skipped=2)
