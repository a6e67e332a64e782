"""The same under pytest-xdist."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("xdist")

CHOSEN = ("--sslbench-backbones", "tiny,blurred", "--sslbench-tasks", "knn/digits,knn/pair,fewshot/digits/5shot")
# What may differ between two runs of one case.
VOLATILE = ("timings", "peak_memory", "created")


def stable(records):
    return {case: {k: v for k, v in record.items() if k not in VOLATILE} for case, record in records.items()}


def scores(path):
    """summary.csv without timings and date."""
    lines = path.read_text().splitlines()
    width = lines[0].split(",").index("extract_s")
    return [line.split(",")[:width] for line in lines]


def test_two_workers_give_what_one_process_gives(project, tmp_path):
    project.ini(sslbench_cache=str(tmp_path / "serial"))
    project.run(*CHOSEN, "--sslbench-results", "serial").assert_outcomes(passed=6)
    project.ini(sslbench_cache=str(tmp_path / "parallel"))
    result = project.run(*CHOSEN, "--sslbench-results", "parallel", "-n", "2", "-v", "--junit-xml=junit.xml")
    result.assert_outcomes(passed=6, warnings=0)
    serial, parallel = project.records("serial"), project.records("parallel")
    assert len(serial) == 6
    assert stable(parallel) == stable(serial)
    assert scores(project.path / "parallel/chosen/summary.csv") == scores(project.path / "serial/chosen/summary.csv")
    for name in ("records", "samples"):
        files = [
            sorted(p.name for p in (project.path / run / "chosen" / name).iterdir()) for run in ("serial", "parallel")
        ]
        assert files[0] == files[1]
    for record in parallel.values():
        sample = project.path / "parallel/chosen/records" / record["samples"]["path"]
        assert (
            sample.read_bytes()
            == (project.path / "serial/chosen/records" / serial[record["case"]]["samples"]["path"]).read_bytes()
        )
    # The controller prints one table of all cases.
    table = result.stdout.str().partition("sslbench chosen tasks =")[2]
    for case, record in serial.items():
        backbone, task = case.split("|")
        assert task in table
        assert re.search(rf"^{backbone} .*{record['scores'][record['main_score']]['value']:.1f}±", table, re.MULTILINE)
    # Scores reach the JUnit file from the workers.
    assert (project.path / "junit.xml").read_text().count('<property name="sslbench_') == 6
    # One backbone's cases are on one worker.
    placed = set(re.findall(r"\[(gw\d)\].*PASSED test_bench\.py::\w+\[(\S+)-(?:digits|pair)", result.stdout.str()))
    assert sorted(backbone for _, backbone in placed) == ["blurred", "tiny"]
    assert len({worker for worker, _ in placed}) == 2


def test_the_gate_sees_every_workers_cases(project):
    saved = ("--sslbench-tasks", "knn/digits,fewshot/digits/5shot")
    project.run("--sslbench-backbones", "tiny", *saved, "--sslbench-save-baseline", "base.json")
    result = project.run(
        "-n", "2", "--sslbench-backbones", "tiny,blurred", *saved, "--sslbench-baseline", "base.json#tiny"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["regression gate: 4 of 4 cases compared with *, 2 significantly worse *"])
    assert "FAILED test_bench.py::test_knn[blurred-digits]" in result.stdout.str()
    assert "FAILED test_bench.py::test_knn[tiny-digits]" not in result.stdout.str()


def test_an_unknown_name_stops_the_controller_at_once(project):
    result = project.run("-n", "2", "--sslbench-backbones", "tinny")
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "unknown backbone 'tinny'" in text
    assert "Traceback" not in text
