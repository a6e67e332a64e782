"""The script runs where there is no GPU, tells wrong results, and loses nothing to a check that fails."""

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gpu_check
import numpy as np
import pytest
import torch
from compare_occlusion import by_captum, by_loop, shown
from compare_probes import Size, problem
from gpu_checks import inversion, linear, neighbours, occlusion, steps
from gpu_checks import training as training_check
from gpu_checks.bench import Bench, Found
from gpu_checks.process import Process
from sklearn.linear_model import LogisticRegression

SCRIPT = Path(gpu_check.__file__)
NEVER = Bench("cpu", small=True, deadline=math.inf)


def run(path: Path, *arguments: str, **checks: gpu_check.Check) -> tuple[int, dict[str, Any]]:
    out = path / "report.json"
    status = gpu_check.main(["--device", "cpu", "--small", "--out", str(out), *arguments], checks or gpu_check.CHECKS)
    return status, json.loads(out.read_text())


GROUPS = {
    "steps": ["finetuning", "detection", "segmentation", "normals", "training"],
    "extraction": ["scores", "resnet50", "vit-b16"],
    # Those take processes of their own, and are tried by tests/engines/test_shared_devices.py.
    "processes": ["trials", "sharing"],
}
GROUPS["rest"] = [name for name in gpu_check.CHECKS if not any(name in group for group in GROUPS.values())]
AIMS = {
    "steps": {"bare step": ["at least 0.85"] * 8},
    "extraction": {"bare forward": ["at least 0.95"] * 8},
    "rest": {
        "bare step": ["at least 0.85"],
        "path at the size of Pets": ["at most 0.25"],
        "path at the size of CIFAR-10": ["at most 1"],
    },
}


@pytest.mark.parametrize("group", AIMS)
def test_every_check_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str], group: str) -> None:
    status, report = run(tmp_path, *(word for name in GROUPS[group] for word in ("--only", name)))
    assert status == 0, [check["why"] for check in report["checks"]]
    assert {check["name"] for check in report["checks"]} == set(GROUPS[group])
    for check in report["checks"]:
        assert check["status"] == "ok" and check["rows"] and not check["why"]
        for row in check["rows"]:
            assert row["values"] and np.isfinite(row["values"]).all()
            assert row["lowest"] <= row["median"] <= row["highest"]
    assert report["environment"]["packages"]["torch"] and report["command"].startswith("python tools/gpu_check.py")
    # The aims of the documentation, each with what was reached.
    aims = [(bar["what"], bar["aim"]) for check in report["checks"] for bar in check["bars"]]
    for what, expected in AIMS[group].items():
        assert [aim for told, aim in aims if what in told] == expected
    printed, written = capsys.readouterr().out, (tmp_path / "report.md").read_text()
    assert printed == written
    table = [line for line in written.splitlines() if line.startswith("|") and line.count("|") == 7]
    assert len(table) == 2 + sum(len(check["rows"]) for check in report["checks"])


def slow(bench: Bench, found: Found) -> None:
    found.row("something", "s", [bench.seconds(lambda: None) for _ in bench.rounds()])


def breaks(bench: Bench, found: Found) -> None:
    found.row("before", "s", [1.0])
    raise torch.OutOfMemoryError("no memory left")


def wrong(bench: Bench, found: Found) -> None:
    found.expect(False, "the score moved")
    found.bar("an aim", "s", 2.0, at_most=1.0)


def test_a_failure_leaves_the_others_and_what_came_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = run(tmp_path, breaks=breaks, wrong=wrong, slow=slow)
    assert status == 1
    broken, faulty, fine = report["checks"]
    assert (broken["status"], broken["why"]) == ("failed", ["OutOfMemoryError: no memory left"])
    assert [row["what"] for row in broken["rows"]] == ["before"]
    table = (tmp_path / "report.md").read_text()
    assert "| breaks | **failed:** OutOfMemoryError: no memory left | | | | |" in table
    assert (faulty["status"], faulty["why"]) == ("failed", ["the score moved"])
    assert fine["status"] == "ok"
    assert "- wrong: failed, 0 s; the score moved" in capsys.readouterr().out.splitlines()


def test_results_are_on_disk_before_the_next_check(tmp_path: Path) -> None:
    def dies(bench: Bench, found: Found) -> None:
        assert [check["name"] for check in json.loads((tmp_path / "report.json").read_text())["checks"]] == ["slow"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, slow=slow, dies=dies)
    assert "| slow | something |" in (tmp_path / "report.md").read_text()


def test_a_missed_aim_is_told_and_fails_nothing(tmp_path: Path) -> None:
    def aims(bench: Bench, found: Found) -> None:
        found.bar("a share", "x", 0.9, at_least=0.95)
        found.bar("a time", "s", 0.2, at_most=0.25)

    out = tmp_path / "report.json"
    assert gpu_check.main(["--device", "cpu", "--out", str(out)], {"aims": aims}) == 0
    assert json.loads(out.read_text())["checks"][0]["bars"] == [
        {"what": "a share", "unit": "x", "aim": "at least 0.95", "reached": 0.9, "met": False},
        {"what": "a time", "unit": "s", "aim": "at most 0.25", "reached": 0.2, "met": True},
    ]
    written = out.with_suffix(".md").read_text()
    assert (
        "| a share | at least 0.95 x | 0.9 | **no** |" in written
        and "| a time | at most 0.25 s | 0.2 | yes |" in written
    )
    # Tiny sizes meet and miss nothing.
    _, report = run(tmp_path, aims=aims)
    assert [bar["met"] for bar in report["checks"][0]["bars"]] == [None, None]


def test_what_the_time_does_not_reach_is_skipped_and_told(tmp_path: Path) -> None:
    status, report = run(tmp_path, "--seconds", "0", slow=slow)
    assert status == 0
    assert (report["checks"][0]["status"], report["checks"][0]["rows"]) == ("skipped", [])
    assert "- slow: skipped, 0 s; the time was over" in (tmp_path / "report.md").read_text()


def test_a_check_that_runs_over_the_whole_time_is_broken_off(tmp_path: Path) -> None:
    def endless(bench: Bench, found: Found) -> None:
        found.row("before", "s", [1.0])
        while True:
            sum(range(1000))

    status, report = run(tmp_path, "--seconds", "0.3", endless=endless, slow=slow)
    first, second = report["checks"]
    assert status == 0 and (first["status"], second["status"]) == ("skipped", "skipped")
    assert first["why"] == ["broken off: the time was over"] and [row["what"] for row in first["rows"]] == ["before"]


def test_each_check_has_its_part_of_the_time(tmp_path: Path) -> None:
    deadlines = []

    def looks(bench: Bench, found: Found) -> None:
        deadlines.append(bench.deadline - time.monotonic())

    run(tmp_path, "--seconds", "1000", a=looks, b=looks, c=looks, d=looks)
    # 900 seconds are given away: twice the equal share of what is left, and not more than that.
    assert deadlines == pytest.approx([450, 600, 900, 900], abs=5)


def test_a_part_for_which_there_is_no_time_is_told(tmp_path: Path) -> None:
    def half(bench: Bench, found: Found) -> None:
        assert found.goes_on(bench, "float32")
        assert not found.goes_on(replace(bench, deadline=0.0), "bfloat16")

    _, report = run(tmp_path, half=half)
    assert report["checks"][0]["why"] == ["bfloat16 left out: the time was over"]
    assert report["checks"][0]["status"] == "ok"


def test_a_device_that_answers_no_more_is_opened_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_check, "answers", lambda device: False)
    # The one that follows is run where the script has its own checks.
    status, report = run(tmp_path, breaks=breaks, machine=slow)
    assert status == 1 and [check["name"] for check in report["checks"]] == ["breaks", "machine"]
    assert report["checks"][1]["status"] == "ok"
    assert report["checks"][1]["rows"][0]["what"].startswith("product of 128 x 128 matrices")


def test_a_process_that_ends_without_a_report_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "answers", lambda device: False)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho many words >&2\necho the device is lost >&2\nexit 2\n")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    status, report = run(tmp_path, breaks=breaks, slow=slow)
    assert status == 1 and report["checks"][1]["status"] == "failed"
    assert report["checks"][1]["why"] == ["the process ended with 2: the device is lost"]


def test_memory_is_that_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    peaks = [5 << 30]
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peaks[-1])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: peaks.append(0))
    found = Found()
    found.memory("peak", Bench("cuda:0", small=False, deadline=math.inf), lambda: peaks.append(3 << 30))
    assert [(row.what, row.unit, row.values) for row in found.rows] == [("peak", "GiB", (3.0,))]
    # What came before the count began anew is not forgotten.
    assert found.peak == 5 << 30
    nothing = Found()
    nothing.memory("peak", NEVER, lambda: None)
    assert not nothing.rows


def test_rounds_end_with_the_time() -> None:
    assert list(Bench("cpu", False, deadline=math.inf).rounds(4)) == [0, 1, 2, 3]
    assert list(Bench("cpu", False, deadline=0.0).rounds(4)) == [0]


def test_one_check_can_be_named(tmp_path: Path) -> None:
    _, report = run(tmp_path, "--only", "wrong", breaks=breaks, wrong=wrong)
    assert [check["name"] for check in report["checks"]] == ["wrong"]


def test_a_gpu_that_is_not_there_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit) as stopped:
        gpu_check.main([])
    assert stopped.value.code == 2
    assert "device cuda was asked for but cannot be used" in capsys.readouterr().err


def test_the_script_checks_the_copy_that_it_belongs_to(tmp_path: Path) -> None:
    other = tmp_path / "installed" / "sslbench"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise SystemExit('another copy')")
    done = subprocess.run(
        [sys.executable, SCRIPT, "--device", "cpu", "--small", "--only", "machine"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(other.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "| machine | product of 128 x 128 matrices, float32 |" in done.stdout
    assert (tmp_path / "gpu-check.json").exists() and (tmp_path / "gpu-check.md").exists()


def test_lbfgs_is_at_scikit_learns_optimum() -> None:
    data, penalty = problem(Size(150, 16, 3), signal=0.5), 1.0
    held = linear._Held.of(data, "cpu")
    ((objective, accuracy),) = linear._lbfgs(NEVER, held, np.array([penalty]))
    model = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(data.x.astype("float64"), data.y)
    losses = -np.log(model.predict_proba(data.x.astype("float64"))[np.arange(len(data.y)), data.y]).sum()
    assert objective == pytest.approx(losses + penalty / 2 * np.square(model.coef_).sum(), rel=2e-3)
    assert accuracy == pytest.approx(model.score(data.x_val, data.y_val), abs=0.01)


def test_a_path_that_is_no_optimum_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    solve = linear.softmax_path

    def at_other_penalties(x: torch.Tensor, y: torch.Tensor, penalties: np.ndarray) -> object:
        return solve(x, y, penalties * 3)

    monkeypatch.setattr(linear, "softmax_path", at_other_penalties)
    found = Found()
    linear.pets(NEVER, found)
    assert any("below the certified optimum" in fault for fault in found.faults)


def test_other_neighbours_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reversed(neighbours.NearestNeighbours):
        def learn(self, *arguments: Any, **options: Any) -> Any:
            predictor = super().learn(*arguments, **options)
            predictor.targets = predictor.targets.flip(0)
            return predictor

    monkeypatch.setattr(neighbours, "NearestNeighbours", Reversed)
    found = Found()
    neighbours.nearest_neighbours(NEVER, found)
    assert found.faults


def test_a_training_that_an_interrupt_changes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    shifts = iter((0.0, 0.1))

    class Forgetful(training_check.FineTuning):
        def run(self, *arguments: Any, **options: Any) -> Any:
            log = super().run(*arguments, **options)
            with torch.no_grad():
                next(self.model.parameters()).add_(next(shifts))
            return log

    monkeypatch.setattr(training_check, "FineTuning", Forgetful)
    found = Found()
    training_check.training(NEVER, found)
    assert "1 tensors are others after an interrupt" in found.faults[0]


@pytest.mark.parametrize("kind", ["finetuning", "segmentation"])
def test_steps_that_are_not_the_cpus_are_told(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(Exception):
        pass

    computed = steps._computed
    seen = list[object]()

    def moved(kind: steps.Kind, learner: Any) -> tuple[torch.Tensor, float]:
        outputs, loss = computed(kind, learner)
        seen.append(learner)
        return (outputs * 1.05, loss * 1.05) if len(seen) > 1 else (outputs, loss)

    def stop(*arguments: object) -> None:
        raise Enough

    monkeypatch.setattr(steps, "_computed", moved)
    monkeypatch.setattr(steps, "_twice", stop)
    found = Found()
    with pytest.raises(Enough):
        getattr(steps, kind)(NEVER, found)
    assert len(found.faults) == 2 and found.faults[0].startswith("outputs are 0.05 from the CPU's")


def test_trainings_with_other_bits_are_told_where_they_are_promised() -> None:
    class Line:
        def __init__(self, start: float) -> None:
            self.model = torch.nn.Linear(1, 1)
            torch.nn.init.constant_(self.model.weight, start)
            torch.nn.init.zeros_(self.model.bias)
            self.optimiser = torch.optim.SGD(self.model.parameters(), 0.1)

        def batch(self, step: object) -> torch.Tensor:
            return torch.ones(2, 1)

        def loss(self, batch: torch.Tensor) -> torch.Tensor:
            return (self.model(batch) - 1).square().mean()

    kind = steps.Kind("made up", None, None, ("", ""), (1, 1), 1, 1, 1, drawn=False, same_bits=True)  # type: ignore[arg-type]
    for other, promised, faults in ((0.5, True, 0), (0.6, True, 1), (0.6, False, 0)):
        found = Found()
        steps._twice(found, replace(kind, same_bits=promised), Line(0.5), Line(other))
        assert len(found.faults) == faults
        assert found.rows[0].values == (0.0 if other == 0.5 else 2.0,)


def test_an_inversion_that_is_not_the_plain_loops_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter((1.0, 1.1, 1.0))
    monkeypatch.setattr(inversion, "step", lambda learner: next(losses, 1.0))
    monkeypatch.setattr(inversion, "rates", lambda *arguments: {"whole step": 1.0, "bare step": 1.0})
    found = Found()
    inversion.inversion(NEVER, found)
    assert found.faults == ["the first loss is 1.0, the plain loop's 1.1"]


def test_another_map_is_told() -> None:
    found = Found()
    occlusion._alike(found, "the CPU's", np.array([0.0, 1.0]), np.array([0.1, 1.0]))
    assert found.faults == ["the map is 0.1 from the CPU's"]


def test_the_loop_over_windows_gives_captums_map() -> None:
    backbone, picture, windows = shown(steps.SMALL, "quick", 4, "cpu")
    expected = by_captum(backbone, picture, windows, 64)
    np.testing.assert_allclose(by_loop(backbone, picture, windows, 50), expected, atol=1e-4 * expected.max())


def test_what_another_process_raises_or_does_not_say_is_raised_here() -> None:
    process = Process("cpu")
    try:
        process.ask(partial(int, "no number"))
        with pytest.raises(ValueError, match="'no number'"):
            process.answer()
        process.ask(partial(os._exit, 3))
        with pytest.raises(RuntimeError, match="the process ended with status 3"):
            process.answer()
    finally:
        process.end()
