"""Fine-tuning that is interrupted, killed, or has no memory for a batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sslbench.errors import CacheWarning, DeviceError, TrainingError
from sslbench.protocols import _finetune_training, _training_run
from sslbench.protocols._finetune_training import Learner, training_set
from sslbench.training.loop import Step
from tests.protocols import tuning
from tests.protocols.tuning import SIZE, Sets, Small, part, run, setting, silent

pytestmark = pytest.mark.usefixtures("one_thread")


class Tracked(nn.Module):
    """Without BatchNorm; the memory suffices for `most` pictures."""

    input_size = SIZE

    def __init__(self, most: int, *, norm: bool) -> None:
        super().__init__()
        self.inner, self.most = Small(norm=norm), most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return self.inner(images)  # type: ignore[no-any-return]


def test_a_batch_too_large_for_the_device_is_computed_in_parts_with_the_same_result() -> None:
    train_set = training_set(part(40), np.arange(40), 64)
    given = {"rate": 0.05, "decay": 0.0, "steps": 6, "seed": 0}
    whole, parts = (
        setting(network=Tracked(most, norm=False)).trained(train_set, given, "search", None, silent())[0]
        for most in (16, 5)
    )
    theirs = whole.state_dict()
    for name, tensor in parts.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-6)
    with pytest.raises(DeviceError, match="cannot be computed in parts: BatchNorm needs all of it"):
        setting(network=Tracked(5, norm=True)).trained(train_set, given, "search", None, silent())
    with pytest.raises(DeviceError, match="one item is too much already"):
        setting(network=Tracked(0, norm=False)).trained(train_set, given, "search", None, silent())


def test_an_interrupted_training_goes_on_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_finetune_training, "CHECKPOINT_SECONDS", 0.0)
    train_set = training_set(part(40), np.arange(40), 64)
    given = {"rate": 0.05, "decay": 1e-4, "steps": 27, "seed": 0}
    whole = setting().trained(train_set, given, "search", None, silent())[0].state_dict()
    batch = Learner.batch

    def stop(self: Learner, step: Step) -> object:
        if step.number == 23:
            raise KeyboardInterrupt
        return batch(self, step)

    monkeypatch.setattr(Learner, "batch", stop)
    with pytest.raises(KeyboardInterrupt):
        setting().trained(train_set, given, "search", tmp_path, silent())
    monkeypatch.setattr(Learner, "batch", batch)
    resumed = setting().trained(train_set, given, "search", tmp_path, silent())[0].state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert [path.name for path in tmp_path.glob("*.pt*")] == ["state.pt"]
    with pytest.raises(
        TrainingError, match=r"was begun with rate 0\.05, not 0\.1; .*Go on with what it had, or remove it"
    ):
        setting().trained(train_set, {**given, "rate": 0.1}, "search", tmp_path, silent())
    monkeypatch.setattr(_training_run, "device_name", lambda device: "NVIDIA H100")
    with pytest.raises(TrainingError, match="was begun with device 'cpu', not 'NVIDIA H100'"):
        setting().trained(train_set, given, "search", tmp_path, silent())


def test_a_damaged_state_is_told_and_its_training_begun_again(
    tuned: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_finetune_training, "CHECKPOINT_SECONDS", 0.0)
    whole = run(tmp_path / "whole", tuning.LONG)
    batch = Learner.batch

    def stop(self: Learner, step: Step) -> object:
        if step.number == 12:
            raise KeyboardInterrupt
        return batch(self, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "batch", stop)
        run(tmp_path / "cut", tuning.LONG)
    (state,) = (tmp_path / "cut/trials").glob("*/state.pt")
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.warns(CacheWarning, match="is not the state of a training .*training it from its beginning"):
        again = run(tmp_path / "cut", tuning.LONG)
    assert (again.scores, again.hyperparameters) == (whole.scores, whole.hyperparameters)


def weights_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "trials").glob("*.safetensors")}


def test_a_killed_case_goes_on_in_the_middle_of_a_trial_and_ends_as_an_undisturbed_one(
    tuned: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_finetune_training, "CHECKPOINT_SECONDS", 0.0)
    undisturbed = run(tmp_path / "whole", tuning.LONG)
    command = [sys.executable, "-m", tuning.__name__, str(tmp_path / "killed")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    left = sorted(path.suffix for path in (tmp_path / "killed/trials").glob("*.json"))
    assert left == [".json"] * 2
    steps: list[int] = []
    batch = Learner.batch

    def noted(self: Learner, step: Step) -> object:
        steps.append(step.number)
        return batch(self, step)

    monkeypatch.setattr(Learner, "batch", noted)
    resumed = run(tmp_path / "killed", tuning.LONG)
    # The third of four trainings goes on at its last checkpoint, one more and the last one are whole.
    assert steps == [*range(10, 15), *range(15), *range(15)]
    assert (resumed.scores, resumed.hyperparameters, resumed.paired) == (
        undisturbed.scores, undisturbed.hyperparameters, undisturbed.paired,
    )  # fmt: skip
    assert weights_of(tmp_path / "killed") == weights_of(tmp_path / "whole")
    assert not [path for path in (tmp_path / "killed/trials").iterdir() if path.is_dir()]
