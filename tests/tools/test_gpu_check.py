"""The script runs where there is no GPU, tells wrong results, and loses nothing to a check that fails."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gpu_check
import numpy as np
import pytest
import torch
from compare_probes import Size, problem
from gpu_checks import linear, neighbours
from gpu_checks import training as training_check
from gpu_checks.bench import Bench, Found
from sklearn.linear_model import LogisticRegression

SCRIPT = Path(gpu_check.__file__)
NEVER = Bench("cpu", small=True, deadline=math.inf)


def run(path: Path, *arguments: str, **checks: gpu_check.Check) -> tuple[int, dict[str, Any]]:
    out = path / "report.json"
    status = gpu_check.main(["--device", "cpu", "--small", "--out", str(out), *arguments], checks or gpu_check.CHECKS)
    return status, json.loads(out.read_text())


def test_every_check_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, report = run(tmp_path)
    assert status == 0, [check["why"] for check in report["checks"]]
    assert [check["name"] for check in report["checks"]] == list(gpu_check.CHECKS)
    for check in report["checks"]:
        assert check["status"] == "ok" and check["rows"]
        for row in check["rows"]:
            assert row["values"] and np.isfinite(row["values"]).all()
            assert row["lowest"] <= row["median"] <= row["highest"]
    assert report["environment"]["packages"]["torch"] and report["command"].startswith("python tools/gpu_check.py")
    # The aims of the documentation, each with what was reached.
    aims = {bar["what"]: bar["aim"] for check in report["checks"] for bar in check["bars"]}
    assert aims["path at the size of Pets"] == "at most 0.25"
    assert aims["path at the size of CIFAR-10"] == "at most 1"
    assert [aim for what, aim in aims.items() if "bare forward" in what] == ["at least 0.95"] * 8
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
    status, report = run(tmp_path, "--minutes", "0", slow=slow)
    assert status == 0
    assert (report["checks"][0]["status"], report["checks"][0]["rows"]) == ("skipped", [])
    assert "- slow: skipped, 0 s; the time was over" in (tmp_path / "report.md").read_text()


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
