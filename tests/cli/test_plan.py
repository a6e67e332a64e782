"""`sslbench plan` on suites that come with the package, and on hand-made records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sslbench.cli import main
from sslbench.engine.plan_text import time_text
from sslbench.results.record import slug
from sslbench.results.references import read_records
from sslbench.results.runs import Run
from sslbench.results.shared_run import run_at
from sslbench.store.store import Store
from tests.results.conftest import build

BASELINE = Path(__file__).parents[2] / "results/baselines/embedded.json"


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls the command, in a folder of its own, and gives status, output and errors."""
    monkeypatch.chdir(tmp_path)
    for name in ("SSLBENCH_RESULTS", "SSLBENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSLBENCH_CACHE", str(tmp_path / "cache"))

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        return main(["plan", *map(str, arguments)]), *capsys.readouterr()

    return call


def told(plan: Any, *arguments: object) -> dict[str, Any]:
    status, out, err = plan(*arguments, "--json")
    assert (status, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def table(text: str) -> dict[str, list[str]]:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    return {row[0]: row[1:] for row in rows[2:]}


def test_the_study_is_planned_on_eight_gpus(plan):
    status, out, err = plan("--suite", "paper", "--gpus", 8, "--device", "a100")
    assert (status, err) == (0, "")
    assert "# paper: 561 cases on 8 GPUs (a100, as asked for)" in out
    rows = table(out)
    # 11 sets and 14 networks, a grid of 4 rates and 5 decays with a training on both splits behind it.
    assert rows["finetune"][:4] == ["assumed", "154", "0", str(154 * 21)]
    assert rows["all"][1] == "561"
    assert "- 561 assumed: 40% of 19.5 TFLOP/s (float32, a100)" in out
    assert (
        "GB" in out
        and "The largest case of each of the largest tasks:\n- byol|segmentation/ade20k: 33 h, 1 x 33 h (dense)" in out
    )


def test_hours_add_up_and_devices_shorten_them_down_to_the_longest_chain(plan):
    options = ("--suite", "paper", "--device", "a100", "--backbones", "swav")
    one, eight, many = (told(plan, *options, "--gpus", gpus) for gpus in (1, 8, 300))
    total = sum(hours["device_seconds"] for hours in eight["protocols"].values())
    assert one["device_seconds"] == eight["device_seconds"] == pytest.approx(total)
    # Where a quarter of a device is in use, a whole case waits.
    assert total <= one["wall_seconds"] < 1.02 * total
    assert total / 8 <= eight["wall_seconds"] < total / 8 + eight["chain_seconds"]
    assert many["wall_seconds"] == pytest.approx(many["chain_seconds"])


def test_features_are_made_once(plan):
    options = ("--suite", "embedded", "--device", "cpu", "--backbones", "zoo:simclr", "--tasks")
    both = told(plan, *options, "knn/world-shape,linear/world-shape")
    costs = {case["case"]: case for case in both["cases"]}
    assert all(case["extract"] > 0 for case in costs.values())
    spent = sum(case["rest"] for case in costs.values()) + costs["zoo:simclr|knn/world-shape"]["extract"]
    assert both["device_seconds"] == pytest.approx(spent)


def test_a_baseline_s_timings_are_what_its_cases_took(plan):
    found = told(plan, "--suite", "embedded", "--device", "cpu", "--gpus", 2, "--records", BASELINE)
    took = [
        sum(record.timings[part] or 0.0 for part in ("extract", "fit", "score")) for record in read_records(BASELINE)
    ]
    assert len(found["cases"]) == len(took) == 246
    assert sum(case["seconds"] for case in found["cases"]) == pytest.approx(sum(took))
    assert found["device_seconds"] == pytest.approx(sum(took), rel=0.02)
    assert all(case["said"]["seconds"].startswith("measured") for case in found["cases"])


def test_cases_with_a_record_are_not_run_again(plan, tmp_path):
    records = [record for record in read_records(BASELINE) if record.backbone["name"] == "zoo:simclr"][:5]
    run = Run(tmp_path / "results/embedded")
    run.check_writable()
    for record in records:
        run.write(record)
    found = told(plan, "--suite", "embedded", "--device", "cpu")
    recorded = {case["case"] for case in found["cases"] if case["recorded"]}
    assert recorded == {record.case for record in records}
    assert sum(hours["recorded"] for hours in found["protocols"].values()) == 5
    _, out, _ = plan("--suite", "embedded", "--device", "cpu")
    assert "5 have a record that counts in results/embedded, 241 are to run" in out


def test_a_record_of_another_version_counts_for_nothing_and_is_told(plan, tmp_path):
    run = Run(tmp_path / "results/embedded")
    run.check_writable()
    run.write(build("zoo:simclr", "knn/digits", version=99))
    _, out, err = plan("--suite", "embedded", "--device", "cpu")
    assert err == ""
    assert "0 have a record that counts" in out
    assert "- zoo:simclr|knn/digits was run with version 99 of its protocol" in out


@pytest.mark.parametrize("how", ["option", "variable"])
def test_records_that_other_machines_have_shared_count_and_are_told_as_damaged(plan, tmp_path, monkeypatch, how):
    url = f"file://{tmp_path}/store"
    shared = run_at(tmp_path / "other/embedded", url)
    for task in ("knn/digits", "knn/world-shape"):
        shared.write(record := build("pixels", task))
        shared.push(record)
    Store(url).write(f"embedded/records/{slug('pixels|knn/world-shape')}.json", b"{")
    monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(tmp_path / "here"))
    monkeypatch.setenv("SSLBENCH_RESULTS", url if how == "variable" else "elsewhere")
    options = ("--device", "cpu", "--backbones", "pixels", "--tasks", "knn/digits,knn/world-shape")
    status, out, err = plan(*options, *(("--results", url) if how == "option" else ()))
    assert (status, err) == (0, "")
    assert f"1 have a record that counts in {url}/embedded, 1 are to run" in out
    assert f"- damaged record {url}/embedded/records/" in out


def test_tasks_from_outside_of_a_suite_are_a_run_of_their_own(plan):
    found = told(plan, "--suite", "paper", "--device", "cpu", "--tasks", "knn/digits", "--backbones", "pixels")
    assert found["run"] == "results/chosen"
    assert [case["case"] for case in found["cases"]] == ["pixels|knn/digits"]


def test_what_cannot_be_estimated_is_told_with_the_reason(plan):
    options = ("--device", "cpu", "--tasks", "knn/digits,linear/digits", "--backbones", "python:module:net,pixels")
    _, out, _ = plan(*options)
    assert "Not estimated, 2: python:module:net|knn/digits, python:module:net|linear/digits" in out
    assert "says its network only when it is loaded" in out
    assert table(out)["knn"][-1].endswith("+ 1 unknown")


def test_data_that_are_there_need_not_be_got(plan, tmp_path):
    (tmp_path / "data/aircraft").mkdir(parents=True)
    disk = told(plan, "--suite", "paper", "--tasks", "linear/aircraft,linear/dtd", "--device", "cpu")["disk"]
    assert (disk["there"], disk["data"]) == (["aircraft"], {"dtd": 625_239_812})


def test_features_and_trainings_in_the_cache_are_counted_by_name(plan, tmp_path):
    import numpy as np

    from sslbench.datasets import load_dataset
    from sslbench.features.cache import FeatureCache
    from sslbench.training.trial_result import TrialResult
    from sslbench.training.trials import Trials

    train = load_dataset("digits").splits["train"].images.fingerprint
    FeatureCache(tmp_path / "cache").get({"images": train}, lambda: {"x": np.zeros((1, 1))}, "pixels")
    case = {"protocol": ["finetune", "recipe=quick", 1]}
    Trials(tmp_path / "cache/trials", case).map(
        lambda *_: TrialResult(1.0), [{"rate": 0.1}, {"rate": 1.0}], stage="search"
    )
    found = told(plan, "--device", "cpu")["cached"]
    assert (found["features"], found["trials"]) == (1, {"finetune": 2})


def test_a_plan_leaves_nothing_behind(plan, tmp_path):
    plan("--suite", "embedded", "--device", "cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suite", "papers"], "unknown suite 'papers'; nearest: paper"),
        (["--gpus", "0"], "--gpus: expected a whole number of 1 or more, got 0"),
        (["--gpus", "-1"], "--gpus: expected a whole number of 1 or more, got -1"),
        (["--gpus", "many"], "--gpus: expected a whole number of 1 or more, got 'many'"),
        (["--device", "abacus"], "unknown device 'abacus'"),
        (["--tasks", "knn/nothing"], "unknown dataset 'nothing'"),
        (["--backbones", "zoo:nobody"], "zoo:nobody"),
        (["--records", "nowhere"], "'nowhere' is neither a record"),
    ],
)
def test_bad_input_is_told_in_one_line(plan, arguments, said):
    status, out, err = plan(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("sslbench: ") and err.count("\n") == 1
    assert said in err


def test_times_have_the_digits_that_an_estimate_has():
    assert [time_text(each) for each in (0, 0.123, 59.9, 150, 7200, 360_000)] == [
        "0 s",
        "0.12 s",
        "60 s",
        "2 min",
        "2.0 h",
        "100 h",
    ]
