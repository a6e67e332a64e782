"""The regression gate against a saved baseline."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

DIGITS = ("--sslbench-tasks", "knn/digits,fewshot/digits/5shot")


@pytest.fixture
def baseline(project):
    """Saved by `tiny`; the results are moved away so that the next run starts anew."""
    result = project.run("--sslbench-backbones", "tiny", *DIGITS, "--sslbench-save-baseline", "saved/base.json")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["baseline written: saved/base.json"])
    return project.path / "saved/base.json"


def against(project, baseline, backbones, *more):
    return project.run("--sslbench-backbones", backbones, *DIGITS, "--sslbench-baseline", str(baseline), *more)


def test_a_saved_baseline_is_the_run_without_samples(project, baseline):
    saved = json.loads(baseline.read_bytes())
    assert [record["case"] for record in saved] == ["tiny|fewshot/digits/5shot", "tiny|knn/digits"]
    assert saved == [{**record, "samples": None} for _, record in sorted(project.records().items())]


def test_the_same_backbone_passes(project, baseline):
    result = against(project, baseline, "tiny", "--sslbench-rerun", "all")
    assert result.ret == 0
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["regression gate: 2 of 2 cases compared with *base.json, 0 significantly worse*"])


def test_a_better_backbone_passes(project, baseline):
    project.run("--sslbench-backbones", "blurred", *DIGITS, "--sslbench-save-baseline", "worse.json")
    result = against(project, "worse.json", "tiny")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*2 of 2 cases compared*, 0 significantly worse*"])


def test_a_worse_backbone_fails_case_by_case(project, baseline):
    result = against(project, baseline, "blurred", "--junit-xml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    # Each case is counted once: failed, and not passed as well.
    assert re.search(r"^=+ 2 failed in ", result.outlines[-1])
    text = result.stdout.str()
    assert "FAILED test_bench.py::test_knn[blurred-digits]" in text
    assert "FAILED test_bench.py::test_fewshot[blurred-digits-5shot]" in text
    records = project.records()
    for task, name in (("knn/digits", "top1"), ("fewshot/digits/5shot", "accuracy")):
        ours, theirs = (records[f"{backbone}|{task}"]["scores"][name] for backbone in ("blurred", "tiny"))
        drop = ours["value"] - theirs["value"]
        message = next(line for line in result.outlines if line.startswith(f"regression gate: blurred|{task}: "))
        assert f"{name} {ours['value']:.2f}±{ours['stderr']:.2f} %" in message
        assert f"against {theirs['value']:.2f}±{theirs['stderr']:.2f} % of the baseline tiny" in message
        assert f"difference {drop:+.2f} points, 95 % interval [" in message
        assert 0 <= float(re.search(r"one-sided Holm p = (\S+) ", message)[1]) < 0.05
    failures = ElementTree.parse(project.path / "junit.xml").getroot().iter("failure")
    assert sum("regression gate" in failure.text for failure in failures) == 2


def test_only_the_worse_of_two_backbones_fails(project, baseline):
    result = against(project, f"{baseline}#tiny", "tiny,blurred")
    result.assert_outcomes(passed=2, failed=2)
    assert "FAILED test_bench.py::test_knn[blurred-digits]" in result.stdout.str()
    assert "FAILED test_bench.py::test_knn[tiny-digits]" not in result.stdout.str()


def test_a_case_the_baseline_does_not_have_passes_and_is_told(project, baseline):
    result = project.run(
        "--sslbench-backbones", "blurred", "--sslbench-tasks", "knn/digits,knn/pair", f"--sslbench-baseline={baseline}"
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["regression gate: 1 of 2 cases compared with *"])


def test_a_failure_of_the_test_itself_stays_one_failure(project, baseline):
    project.tests("""
import pytest
@pytest.mark.sslbench(protocol="knn")
def test_knn(sslbench_record):
    assert False
""")
    result = project.run(
        "--sslbench-backbones", "blurred", "--sslbench-tasks", "knn/digits", f"--sslbench-baseline={baseline}"
    )
    assert result.ret == 1
    assert re.search(r"^=+ 1 failed in ", result.outlines[-1])
    assert any(line.startswith("regression gate: blurred|knn/digits: top1 ") for line in result.outlines)


def test_the_level_decides(project, baseline):
    """A drop of p < 0.05 passes at a far lower level."""
    assert against(project, baseline, "blurred", "--sslbench-gate-level", "1e-300").ret == 0
    project.ini(sslbench_gate_level="1e-300")
    assert against(project, baseline, "blurred").ret == 0
    assert against(project, baseline, "blurred", "--sslbench-gate-level", "0.01").ret == 1


def test_the_smallest_drop_decides(project, baseline):
    records = project.run("--sslbench-backbones", "blurred", *DIGITS) and project.records()
    drops = {
        task: records[f"tiny|{task}"]["scores"][name]["value"] - records[f"blurred|{task}"]["scores"][name]["value"]
        for task, name in (("knn/digits", "top1"), ("fewshot/digits/5shot", "accuracy"))
    }
    low, high = sorted(drops.values())
    between = str((low + high) / 2)
    against(project, baseline, "blurred", "--sslbench-gate-min-drop", between).assert_outcomes(passed=1, failed=1)
    against(project, baseline, "blurred", "--sslbench-gate-min-drop", str(high + 1)).assert_outcomes(passed=2)
    project.ini(sslbench_gate_min_drop=str(high + 1))
    against(project, baseline, "blurred").assert_outcomes(passed=2)


def two_in_one(project):
    project.run("--sslbench-backbones", "tiny,blurred", *DIGITS, "--sslbench-save-baseline", "two.json")
    return project.path / "two.json"


def test_one_of_several_baseline_backbones_is_named_after_the_file(project):
    two = two_in_one(project)
    assert against(project, f"{two}#blurred", "blurred").ret == 0
    assert against(project, f"{two}#blurred", "tiny").ret == 0
    assert against(project, f"{two}#tiny", "blurred").ret == 1
    # Without a name, each is compared with itself.
    assert against(project, two, "tiny,blurred").ret == 0


def usage_error(result) -> str:
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    return text


def test_an_unnamed_choice_among_several_is_asked_for(project):
    text = usage_error(against(project, two_in_one(project), "pixels"))
    assert "the baseline has no backbone 'pixels'; it has blurred, tiny" in text
    assert "FILE#BACKBONE" in text


def test_a_baseline_backbone_that_is_not_there(project, baseline):
    text = usage_error(against(project, f"{baseline}#nobody", "tiny"))
    assert "the baseline has no backbone 'nobody'; it has tiny" in text


def test_a_baseline_without_a_shared_task_is_refused_before_anything_runs(project, baseline):
    before = project.written()
    result = project.run(
        "--sslbench-backbones", "blurred", "--sslbench-tasks", "knn/pair", f"--sslbench-baseline={baseline}"
    )
    text = usage_error(result)
    assert "has none of this run's tasks; it has fewshot/digits/5shot, knn/digits" in text
    assert project.written() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[{", "is not valid JSON"),
        ("{}", "expected a JSON list of records, got dict"),
        ("[3]", "record 0: expected a JSON object, got int"),
        ('[{"schema_version": 99}]', "expected schema_version 2, got 99"),
        ('[{"schema_version": 2}]', "missing fields"),
        ("[]", "it has no record"),
        (None, "cannot read the baseline"),
    ],
)
def test_a_damaged_baseline_is_refused_before_anything_runs(project, content, said):
    path = project.path / "base.json"
    if content is not None:
        path.write_text(content)
    assert said in usage_error(against(project, path, "tiny"))
    assert project.records() == {}


def test_a_baseline_damaged_inside_a_record_is_refused(project, baseline):
    saved = json.loads(baseline.read_bytes())
    del saved[1]["scores"]["top1"]["stderr"]
    baseline.write_text(json.dumps(saved))
    assert "stderr" in usage_error(against(project, baseline, "tiny"))


@pytest.mark.parametrize("level", ["0", "1", "-1", "nan"])
def test_a_level_that_is_none_is_refused(project, baseline, level):
    assert "gate level" in usage_error(against(project, baseline, "tiny", "--sslbench-gate-level", level))


@pytest.mark.parametrize("drop", ["-1", "nan"])
def test_a_drop_that_is_none_is_refused(project, baseline, drop):
    assert "minimum drop" in usage_error(against(project, baseline, "tiny", "--sslbench-gate-min-drop", drop))


def test_a_baseline_from_the_ini_file(project, baseline):
    project.ini(sslbench_baseline=str(baseline))
    project.run("--sslbench-backbones", "blurred", *DIGITS).assert_outcomes(failed=2)
    project.run("--sslbench-backbones", "tiny", *DIGITS).assert_outcomes(passed=2)


def test_a_baseline_of_other_data_fails_because_nothing_could_be_compared(project, baseline):
    saved = json.loads(baseline.read_bytes())
    for record in saved:
        record["task"]["fingerprint"] = "0" * 16
    baseline.write_text(json.dumps(saved))
    result = against(project, baseline, "tiny")
    result.assert_outcomes(failed=2)
    assert "cannot be paired: the task fingerprint differs" in result.stdout.str()


def test_no_baseline_is_written_when_no_case_ran(project):
    result = project.run("--sslbench-save-baseline", "base.json", "-k", "nothing")
    assert "no case ran: base.json was not written" in result.stdout.str()
    assert not (project.path / "base.json").exists()
