"""`--sslbench-shard K/N` in sessions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sslbench.cli import main
from sslbench.results.references import read_records
from sslbench.results.runs import Run
from tests.plugin.conftest import Project

CASES = ("--sslbench-backbones", "tiny,blurred", "--sslbench-tasks", "knn/pair,knn/digits,fewshot/digits/5shot")
REVERSED = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items.reverse()
"""


def collected(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line and " " not in line]


@pytest.mark.parametrize("chosen", [(), ("-k", "knn"), ("-k", "not digits"), ("-m", "fewshot")], ids=str)
def test_the_shards_together_have_each_case_once(project: Project, chosen: tuple[str, ...]) -> None:
    everything = collected(project.run("--collect-only", "-q", *CASES, *chosen))
    assert everything
    found = [
        name
        for number in (1, 2, 3)
        for name in collected(project.run("--collect-only", "-q", *CASES, *chosen, "--sslbench-shard", f"{number}/3"))
    ]
    assert sorted(found) == sorted(everything)


def test_another_order_of_collection_divides_in_the_same_way(project: Project) -> None:
    straight = collected(project.run("--collect-only", "-q", *CASES, "--sslbench-shard=2/3"))
    with (project.path / "conftest.py").open("a") as file:
        file.write(REVERSED)
    turned = collected(project.run("--collect-only", "-q", *CASES, "--sslbench-shard=2/3"))
    assert sorted(straight) == sorted(turned) and straight


def test_the_merged_records_of_all_shards_are_those_of_one_session(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.run(*CASES, "--sslbench-results=whole", "--sslbench-save-baseline=whole.json")
    for number in (1, 2):
        result = project.run(*CASES, "--sslbench-shard", f"{number}/2", f"--sslbench-results=parts/{number}")
        assert result.ret == 0
        # Before the first case, and at the end.
        result.stdout.re_match_lines([rf"shard {number}/2: \d of 6 cases"] * 2)
    asked = ["--suite", "embedded", "--backbones", "tiny,blurred", "--tasks", CASES[-1]]
    capsys.readouterr()
    assert main(["merge", "parts", "--into", "night", *asked]) == 0
    assert "6 of 6 cases of embedded; none is missing" in capsys.readouterr().out
    whole = {record.case: record for record in read_records(project.path / "whole.json")}
    merged = {record.case: record for record in Run(project.path / "night").records()}
    assert whole.keys() == merged.keys() and len(whole) == 6
    for case, record in merged.items():
        # What may differ is when, how fast and in which memory.
        at = {"created": record.created, "timings": record.timings, "peak_memory": record.peak_memory}
        assert replace(whole[case], **at, samples=record.samples) == record
    assert main(["compare", "night", "whole.json", "--gate"]) == 0


def test_a_shard_without_a_case_is_no_failure_but_a_session_without_any_is(project: Project) -> None:
    one = ("--sslbench-backbones=tiny", "--sslbench-tasks=knn/digits")
    result = project.run(*one, "--sslbench-shard=2/2")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["shard 2/2: 0 of 1 cases; it has nothing to run, which is no failure"])
    assert project.run(*one, "--sslbench-shard=2/2", "--collect-only").ret == 0
    assert project.run(*one, "--sslbench-shard=2/2", "-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_other_tests_run_in_every_shard(project: Project) -> None:
    project.path.joinpath("test_other.py").write_text("def test_other(): pass\n")
    one = ("--sslbench-backbones=tiny", "--sslbench-tasks=knn/digits")
    for number, passed in ((1, 2), (2, 1)):
        project.run(*one, "--sslbench-shard", f"{number}/2").assert_outcomes(passed=passed, deselected=number)


def test_the_workers_of_xdist_agree(project: Project) -> None:
    shard = ("--sslbench-shard=1/2", *CASES)
    result = project.run(*shard, "-n2", "-v")
    assert result.ret == 0
    result.stdout.re_match_lines([r"shard 1/2: \d of 6 cases"])
    names = [line.split()[-1] for line in result.outlines if "PASSED" in line]
    assert sorted(names) == sorted(collected(project.run(*shard, "--collect-only", "-q")))


def test_an_empty_shard_under_xdist(project: Project) -> None:
    one = ("--sslbench-backbones=tiny", "--sslbench-tasks=knn/digits")
    result = project.run(*one, "-n1", "--sslbench-shard=2/2")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["shard 2/2: 0 of 1 cases*"])


def test_the_ini_files_shard(project: Project) -> None:
    project.ini(sslbench_shard="1/2", sslbench_device="cpu")
    project.run(*CASES, "--collect-only").stdout.re_match_lines([r"shard 1/2: \d of 6 cases"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--sslbench-shard=0/8",), "*--sslbench-shard takes K/N*got '0/8': the parts are counted from 1/8*"),
        (("--sslbench-shard=9/8",), "*--sslbench-shard takes K/N*got '9/8'*"),
        (("--sslbench-shard=a/b",), "*--sslbench-shard takes K/N*got 'a/b'*"),
        (
            ("--sslbench-shard=1/2", "--sslbench-baseline=base.json"),
            "*--sslbench-shard and --sslbench-baseline: *sslbench merge DIR... --into RUN*sslbench compare RUN base.json --gate*",
        ),
        (
            ("--sslbench-shard=1/2", "--sslbench-save-baseline=base.json"),
            "*--sslbench-shard and --sslbench-save-baseline: *sslbench merge DIR... --into RUN*--save-baseline base.json*",
        ),
        (("--sslbench-shard=1/2", "--stepwise"), "*--sslbench-shard and --stepwise: *"),
        (("--sslbench-shard=1/2", "--lf"), "*--sslbench-shard and --last-failed: *"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be(project: Project, given: tuple[str, ...], told: str) -> None:
    cache = ("-pcacheprovider", "-pstepwise") if {"--lf", "--stepwise"} & set(given) else ()
    result = project.run(*cache, *CASES, *given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not project.record_files()
    result.stderr.fnmatch_lines([told])


def test_claims_are_not_put_to_a_shard(project: Project) -> None:
    project.path.joinpath("test_claims.py").write_text("def test_claims(sslbench_claim): pass\n")
    result = project.run("test_claims.py", "--sslbench-shard=1/2", "--sslbench-claims=ericsson2021")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*claims are put to all cases, and a shard has a part of them*sslbench claims RUN*"])


def test_a_session_without_cases_reads_no_shard(project: Project) -> None:
    project.tests("def test_other(): pass\n")
    assert project.run("--sslbench-shard=a/b").ret == 0
    assert not (project.path / "results").exists()
