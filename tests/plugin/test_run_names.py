"""A run is called by its suite only if all its tasks are the suite's."""

from __future__ import annotations

import pytest

from sslbench.cli import main
from sslbench.errors import SslbenchError
from sslbench.tasks import Suite, register_suite, within_suite


@pytest.mark.parametrize(
    ("patterns", "inside"),
    [
        (None, True),
        (["knn/digits"], True),
        (["*/digits", "knn/w*"], True),
        (["knn/world-objects"], False),
        (["knn/digits", "fewshot/digits/5shot"], False),
        (["knn/folder:images"], False),
        (["*/folder:images*"], False),
        (["knn/d*", "knn/folder:images"], False),
    ],
)
def test_which_tasks_are_the_suites(patterns, inside):
    assert within_suite(patterns, "embedded") is inside


def test_no_suite_takes_the_name_of_other_runs():
    with pytest.raises(SslbenchError, match="cannot be called 'chosen'"):
        register_suite(Suite("chosen", ("knn/digits",), ("pixels",), ""))


@pytest.mark.parametrize("how", [[], ["-n1"]], ids=["one process", "worker"])
def test_a_run_on_a_folder_is_not_called_after_the_suite(project, how, monkeypatch, capsys):
    if how:
        pytest.importorskip("xdist")
    folder = project.folder()
    given = ("--sslbench-backbones=tiny", f"--sslbench-tasks=knn/folder:{folder}")
    result = project.run(*given, *how)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["=* sslbench chosen tasks =*", "records, tables and report: */results/chosen"])
    assert "embedded" not in result.stdout.str()
    assert [path.name for path in (project.path / "results").iterdir()] == ["chosen"]
    # It is taken up again where it is, and the commands find it.
    before = project.written()
    project.run(*given, *how).assert_outcomes(passed=1)
    assert project.written() == before
    monkeypatch.chdir(project.path)
    for arguments, said in (
        (["report"], "results/chosen/summary.csv"),
        (["report", "chosen"], "results/chosen/summary.csv"),
        (["compare", "chosen", "chosen"], "the recipes are equal"),
    ):
        assert main(arguments) == 0
        assert said in capsys.readouterr().out


def test_a_run_within_the_suite_is_called_after_it(project):
    given = ("--sslbench-backbones=tiny", "--sslbench-tasks=knn/digits")
    result = project.run(*given)
    result.stdout.fnmatch_lines(["=* sslbench embedded =*"])
    assert set(project.records(run="embedded")) == {"tiny|knn/digits"}
    assert project.records(run="chosen") == {}
