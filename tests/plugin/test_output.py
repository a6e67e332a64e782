"""What a run prints and which files other tools get."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree

CHOSEN = ("--sslbench-backbones", "tiny,blurred", "--sslbench-tasks", "knn/digits,fewshot/digits/5shot")


def cell(record):
    score = record["scores"][record["main_score"]]
    return f"{score['value']:.1f}±{score['stderr']:.1f}"


def test_the_table_has_every_score_of_the_session(project):
    result = project.run(*CHOSEN)
    records = project.records()
    head, _, table = result.stdout.str().partition(" sslbench chosen tasks =")
    assert "tiny" not in head.partition("test_bench.py")[2]
    lines = [line.split() for line in table.splitlines() if line.strip()]
    assert ["backbone", "fewshot/digits/5shot", "knn/digits"] in lines
    for name in ("tiny", "blurred"):
        row = [name, *(cell(records[f"{name}|{task}"]) for task in ("fewshot/digits/5shot", "knn/digits"))]
        assert row in lines
    result.stdout.fnmatch_lines(["records, tables and report: *results/chosen"])


def test_the_table_is_of_this_session_and_the_files_are_of_the_run(project):
    project.run(*CHOSEN)
    result = project.run("--sslbench-backbones", "tiny", "--sslbench-tasks", "fewshot/digits/5shot")
    table = result.stdout.str().partition(" sslbench chosen tasks =")[2]
    assert "tiny" in table
    assert "blurred" not in table
    with (project.path / "results/chosen/summary.csv").open() as file:
        rows = {(row["backbone"], row["task"]): row for row in csv.DictReader(file)}
    assert len(rows) == 4
    records = project.records()
    for (backbone, task), row in rows.items():
        record = records[f"{backbone}|{task}"]
        assert float(row["value"]) == record["scores"][record["main_score"]]["value"]


def test_quietly_there_is_the_table_and_nothing_else(project):
    result = project.run("-q", *CHOSEN)
    lines = [line for line in result.outlines if line.strip()]
    assert re.fullmatch(r"\.{4} +\[100%\]", lines[0])
    assert re.fullmatch(r"=+ sslbench chosen tasks =+", lines[1])
    assert [line.split()[0] for line in lines[2:6]] == ["backbone", "blurred", "tiny", "guessing"]
    assert lines[6].startswith("guessing: ")
    assert re.fullmatch(r"4 passed in .*", lines[-1])
    assert len(lines) == 8


def test_timings_are_shown_when_asked_for(project):
    assert "benchmark 'sslbench knn'" not in project.run(*CHOSEN).stdout.str()
    assert "benchmark 'sslbench knn'" in project.run("-v", "--sslbench-rerun", "all", *CHOSEN).stdout.str()


def test_a_session_without_cases_prints_no_table(project):
    project.tests("def test_it(): pass")
    assert "sslbench chosen tasks" not in project.run(*CHOSEN).stdout.str()


def test_junit_xml_has_the_main_score(project):
    for _ in ("run", "resumed"):
        result = project.run(*CHOSEN, "--junit-xml=junit.xml")
        result.assert_outcomes(passed=4, warnings=0)
        records = project.records()
        suite = ElementTree.parse(project.path / "junit.xml").getroot()[0]
        cases = {case.get("name"): case for case in suite.iter("testcase")}
        assert len(cases) == 4
        for test, task, name in (("knn", "knn/digits", "top1"), ("fewshot", "fewshot/digits/5shot", "accuracy")):
            case = cases[f"test_{test}[tiny-{task.partition('/')[2].replace('/', '-')}]"]
            (found,) = case.iter("property")
            assert found.get("name") == f"sslbench_{name}"
            assert float(found.get("value")) == records[f"tiny|{task}"]["scores"][name]["value"]


def test_benchmark_json_has_timing_and_scores(project):
    project.run(*CHOSEN, "--benchmark-json=bench.json").assert_outcomes(passed=4)
    benchmarks = {b["name"]: b for b in json.loads((project.path / "bench.json").read_text())["benchmarks"]}
    records = project.records()
    assert len(benchmarks) == 4
    found = benchmarks["test_knn[tiny-digits]"]
    assert found["group"] == "sslbench knn"
    assert found["stats"]["rounds"] == 1
    assert found["stats"]["mean"] > 0
    scores = records["tiny|knn/digits"]["scores"]
    assert found["extra_info"] == {name: score["value"] for name, score in scores.items()}
    assert "top1" in found["extra_info"]
    assert set(benchmarks["test_fewshot[tiny-digits-5shot]"]["extra_info"]) == {"accuracy"}


def test_disabled_timing_does_not_disable_the_case(project):
    project.run("--benchmark-disable", *CHOSEN).assert_outcomes(passed=4)
    assert len(project.records()) == 4


def test_a_users_own_benchmark_stays_in_its_table(project):
    project.tests("def test_fast(benchmark): benchmark(sum, [1, 2])")
    assert "test_fast" in project.run().stdout.str().partition("Name (time in")[2]


def test_a_record_tells_how_it_came_about(project):
    project.run("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/digits", "--sslbench-rerun", "all")
    (record,) = project.records().values()
    assert record["schema_version"] == 2
    assert re.fullmatch(r"[0-9a-f]{32}", record["key"])
    assert record["backbone"]["preprocessing"]["input_size"] == [8, 8]
    assert record["backbone"]["params"] == 0
    assert record["task"]["details"]["split_seed"] == 0
    assert record["hyperparameters"]
    assert record["environment"]["packages"]["torch"]
    assert record["environment"]["device"] == "cpu"
    assert record["timings"]["fit"] >= 0
    assert record["timings"]["threads"] >= 1
    assert record["peak_memory"]["rss"] > 10 << 20
    assert record["paired"]["kind"] == "correct"
    assert record["paired"]["n"] == record["scores"]["top1"]["n"]
    assert record["references"] == {}
    assert record["verdict"] == "no-reference"
