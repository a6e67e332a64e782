"""A repository of one's own: register, mark, run."""

from __future__ import annotations

CONFTEST = """
from torch import nn
import sslbench

class Own(nn.Module):
    input_size = 8
    def forward(self, images):
        return nn.functional.avg_pool2d(images, 2).flatten(1)

sslbench.register_backbone("mine", Own)
"""
TESTS = """
import pytest

@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_record):
    assert sslbench_record.main.value > 50

@pytest.mark.sslbench(protocol="few*")
def test_fewshot(sslbench_record):
    assert sslbench_record.main.value > 50
"""
SELECT = ("--sslbench-backbones", "mine", "--sslbench-tasks", "knn/digits,fewshot/digits/5shot")


def test_a_conftest_and_two_three_line_tests_are_enough(project):
    project.conftest(CONFTEST)
    project.tests(TESTS)
    result = project.run_alone("-v", *SELECT)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random(
        ["*::test_knn[[]mine-digits[]] PASSED*", "*::test_fewshot[[]mine-digits-5shot[]] PASSED*"]
    )
    records = project.records()
    assert set(records) == {"mine|knn/digits", "mine|fewshot/digits/5shot"}
    for record in records.values():
        assert record["backbone"]["name"] == "mine"
        assert 50 < record["scores"][record["main_score"]]["value"] <= 100
        assert (project.path / "results/chosen/records" / record["samples"]["path"]).is_file()
    for name in ("summary.csv", "summary.md", "report.html"):
        assert "mine" in (project.path / "results/chosen" / name).read_text()


def test_the_fixtures_for_case_and_features(project):
    project.tests("""
import pytest

@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_case, sslbench_features):
    train = sslbench_features.split("train")
    assert sslbench_case.case.id == "tiny-pair"
    assert sslbench_case.backbone.name == "tiny"
    assert tuple(train.x.shape) == (20, 48)
    assert train.targets.tolist() == [0, 1] * 10
    assert len(sslbench_features.pooled()[0]) == 60
""")
    project.run("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/pair").assert_outcomes(passed=1)


def test_a_test_may_demand_more_than_the_reference(project):
    project.tests("""
import pytest

@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_record):
    assert sslbench_record.main.value > 100
""")
    result = project.run("--sslbench-backbones", "tiny", "--sslbench-tasks", "knn/pair")
    result.assert_outcomes(failed=1)
    assert set(project.records()) == {"tiny|knn/pair"}


def test_sslbench_case_without_a_marker_says_what_to_write(project):
    project.tests("def test_it(sslbench_record): pass")
    result = project.run("--sslbench-backbones", "tiny")
    assert result.ret != 0
    assert "mark it @pytest.mark.sslbench(protocol=...)" in result.stdout.str() + result.stderr.str()


def test_a_run_without_benchmarks_writes_nothing(project):
    project.tests("def test_it(): assert True")
    project.run().assert_outcomes(passed=1)
    assert not (project.path / "results").exists()
