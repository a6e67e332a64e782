"""What cannot be fine-tuned, and what is said then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sslbench.errors import BackboneError, DataError, DataWarning
from sslbench.protocols._finetune_training import Learner
from tests.protocols.tuning import SIZE, Sets, Small, backbone, run

pytestmark = pytest.mark.usefixtures("one_thread")


def test_what_cannot_be_trained_on_is_told_before_a_picture_is_taken(tuned: Sets, tmp_path: Path) -> None:
    tuned.labels["train"] = np.zeros(40, dtype=np.int64)
    with pytest.raises(DataError, match="the training split has no image with the classes '1', '2', '3'"):
        run(tmp_path)


def test_fewer_pictures_than_a_batch_are_refused_with_batchnorm(
    tuned: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned.sizes["train"] = 20
    with pytest.raises(
        DataError, match=r"20 training pictures are fewer than one batch of 32, and BatchNorm .*batch=10"
    ):
        run(tmp_path, "recipe=quick+steps=2")
    plain = backbone(Small(norm=False), "plain")
    batches: list[int] = []
    original = Learner.loss

    def noted(self: Learner, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        batches.append(len(batch[1]))
        return original(self, batch)

    monkeypatch.setattr(Learner, "loss", noted)
    # The search and the last training have the same.
    assert run(tmp_path, "recipe=quick+steps=2", network=plain).hyperparameters["batch"] == 20
    assert set(batches) == {20}


class PartlyDetached(nn.Module):
    """Its first layer runs without gradients, and one is never called."""

    input_size = SIZE

    def __init__(self) -> None:
        super().__init__()
        self.first, self.unused = nn.Conv2d(3, 4, 3), nn.Linear(2, 2)
        self.last = nn.Conv2d(4, 5, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            inner = self.first(images)
        return self.last(inner).mean(dim=(2, 3))  # type: ignore[no-any-return]


def test_tensors_without_a_gradient_are_told_and_not_counted_as_trained(tuned: Sets, tmp_path: Path) -> None:
    with pytest.warns(
        DataWarning, match=r"no gradient reaches 4 of the 8 tensors .*first\.weight, first\.bias, unused"
    ):
        record = run(tmp_path, network=backbone(PartlyDetached(), "partly"))
    assert record.hyperparameters["trained"] == "4 of 8 tensors"


class Odd(nn.Module):
    """Trained by nobody, for one of several reasons."""

    input_size = SIZE

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why
        self.weight = nn.Parameter(torch.ones(5, 3)) if why != "no parameters" else None
        self.norm = nn.BatchNorm1d(5) if why == "single" else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = images.mean(dim=(2, 3))
        if self.weight is None:
            return means.repeat(1, 2)
        if self.training and self.why == "only frozen":
            raise RuntimeError("this graph was exported for inference")
        out = self.norm(means @ self.weight.T)
        return out.detach() if self.why == "detached" else out


@pytest.mark.parametrize(
    ("why", "message"),
    [
        ("no parameters", "odd has no parameters to train"),
        ("only frozen", r"a training step on 2 pictures fails \(RuntimeError: this graph was exported.*evaluate it frozen"),
        ("detached", "no gradient reaches the network, so that only the classifier would be trained"),
        ("single", r"a training step on 1 picture fails .*single picture, which BatchNorm cannot take.*finetune-last-batch=drop"),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_trained_is_refused(why: str, message: str, tuned: Sets, tmp_path: Path) -> None:
    tuned.sizes["train"] = 33
    with pytest.raises(BackboneError, match=message):
        run(tmp_path, network=backbone(Odd(why), "odd"))
    assert not list(tmp_path.glob("trials/*.json"))
    if why == "single":
        dropped = run(tmp_path, network=backbone(Odd(why), "odd"), compat={"finetune-last-batch": "drop"})
        assert dropped.main.n == 40
