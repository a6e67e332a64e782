"""`sslbench cache` on the trials that it keeps."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from sslbench.cli import main
from sslbench.cli.trial_files import trials
from sslbench.errors import DivergedError
from sslbench.training.trial_result import TrialResult
from sslbench.training.trials import Trials

CASE = {"protocol": ["finetune", "full", 1], "network": "r18"}


def call(capsys: pytest.CaptureFixture[str], cache: Path, *arguments: object) -> tuple[int, list[str]]:
    capsys.readouterr()
    status = main(["cache", "--cache", str(cache), *map(str, arguments)])
    return status, capsys.readouterr().out.splitlines()


def trained(settings: Mapping[str, Any], folder: Path | None) -> TrialResult:
    if settings["rate"] > 1:
        raise DivergedError("too high", 7)
    return TrialResult({"accuracy": 0.5}, {"weight": torch.full((300,), settings["rate"])})


def interrupted(settings: Mapping[str, Any], folder: Path | None) -> TrialResult:
    assert folder is not None
    folder.mkdir()
    torch.save({"step": 5}, folder / "state.pt")
    (folder / "log.jsonl").write_text("{}\n")
    raise KeyboardInterrupt


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Two results, one of which diverged, and a training that was interrupted."""
    kept = Trials(tmp_path / "trials", CASE)
    kept.map(trained, [{"rate": 0.5, "decay": 0}, {"rate": 2.0, "decay": 0}], stage="search")
    with pytest.raises(KeyboardInterrupt):
        kept.map(interrupted, [{"rate": 0.1}], stage="last")
    return tmp_path


def tensors(cache: Path) -> Path:
    (path,) = (cache / "trials").glob("*.safetensors")
    return path


def result_with_tensors(cache: Path) -> Path:
    return tensors(cache).with_suffix(".json")


def state(cache: Path) -> Path:
    (path,) = (cache / "trials").glob("*/state.pt")
    return path


def age(cache: Path, seconds: float) -> None:
    for path in (cache / "trials").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - seconds,) * 2)


def test_ls_lists_trials(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    status, (*rows, total) = call(capsys, cache, "ls")
    assert status == 0
    assert sorted(row.split("  ", 3)[-1].split("  ")[-1] for row in rows) == [
        "finetune full, search: rate=0.5, decay=0",
        "finetune full, search: rate=2.0, decay=0 (diverged at step 7)",
        "training that was interrupted",
    ]
    stored = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")
    assert total == f"total {stored / 2**20:.2f} MiB in {cache}: features 0.00 MiB, trials {stored / 2**20:.2f} MiB"


def test_ls_tells_damage_and_what_runs(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    path = result_with_tensors(cache)
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with FileLock(state(cache).parent.with_suffix(".lock")):
        rows = call(capsys, cache, "ls")[1]
    assert [row.split()[0] for row in rows if row.endswith("  DAMAGED")] == [path.stem]
    assert [row.split()[0] for row in rows if row.endswith("training that runs now")] == [state(cache).parent.name]


def alter_values(cache: Path) -> None:
    path = result_with_tensors(cache)
    path.write_text(path.read_text().replace('"accuracy": 0.5', '"accuracy": 0.9'))


def alter_tensors(cache: Path) -> None:
    path = tensors(cache)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def lose_tensors(cache: Path) -> None:
    tensors(cache).unlink()


def rename(cache: Path) -> None:
    for path in (result_with_tensors(cache), tensors(cache)):
        path.rename(path.with_name(f"{'0' * 32}{path.suffix}"))


@pytest.mark.parametrize("damage", [alter_values, alter_tensors, lose_tensors, rename])
def test_verify_and_prune_find_a_damaged_result(damage, capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    assert call(capsys, cache, "verify") == (0, ["0 of 3 files damaged"])
    before = {path for path in (cache / "trials").rglob("*") if path.is_file()}
    damage(cache)
    status, (message, count) = call(capsys, cache, "verify")
    assert (status, count) == (1, "1 of 3 files damaged")
    assert message.startswith("damaged result ") and " of a trial: " in message
    damaged = {trial.result for trial in trials(cache) if trial.problem()}
    call(capsys, cache, "prune")
    left = {path for path in (cache / "trials").rglob("*") if path.is_file()}
    assert not {path for path in left if path.with_suffix(".json") in damaged}
    assert len(left) >= len(before) - 3
    assert state(cache).exists() and call(capsys, cache, "verify") == (0, ["0 of 2 files damaged"])


def test_a_damaged_state_goes_and_results_stay(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    folder = state(cache).parent
    state(cache).write_bytes(b"half")
    assert call(capsys, cache, "verify")[1][0].startswith("damaged state of a training: ")
    assert call(capsys, cache, "prune") == (0, ["removed 2 files"])
    assert not folder.exists() and not folder.with_suffix(".lock").exists()
    assert call(capsys, cache, "verify") == (0, ["0 of 2 files damaged"])


def test_prune_leaves_what_is_sound(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    age(cache, 5 * 86400)
    assert call(capsys, cache, "prune") == (0, ["removed 0 files"])
    assert call(capsys, cache, "prune", "--older-than", 6) == (0, ["removed 0 files"])
    (cache / "trials" / "notes.txt").write_text("of a user")
    (cache / "trials" / ".hidden").write_text("of a system")
    assert call(capsys, cache, "prune", "--older-than", 4) == (0, ["removed 5 files"])
    assert sorted(path.name for path in (cache / "trials").iterdir()) == [".hidden", "notes.txt"]


def test_prune_all_leaves_what_a_process_is_at(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    folder = state(cache).parent
    with FileLock(folder.with_suffix(".lock")):
        assert call(capsys, cache, "prune", "--all") == (0, ["removed 3 files"])
        assert sorted(path.name for path in (cache / "trials").iterdir()) == [folder.name, f"{folder.name}.lock"]
    assert call(capsys, cache, "prune", "--all") == (0, ["removed 2 files"])
    assert not list((cache / "trials").iterdir())


def test_leftovers_go_when_they_are_old(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    """Tensors without their result, a temporary file, and the state of a training that is finished."""
    result = result_with_tensors(cache)
    for name in (f"{'0' * 32}.safetensors", f"{'1' * 32}.json.5-ff.tmp"):
        (cache / "trials" / name).write_bytes(b"x")
    result.with_suffix("").mkdir()
    (result.with_suffix("") / "state.pt").write_bytes(state_content())
    assert call(capsys, cache, "prune") == (0, ["removed 0 files"])
    age(cache, 2 * 3600)
    assert call(capsys, cache, "prune") == (0, ["removed 3 files"])
    assert call(capsys, cache, "verify") == (0, ["0 of 3 files damaged"])
    assert not result.with_suffix("").exists()


def state_content() -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save({"step": 1}, buffer)
    return buffer.getvalue()
