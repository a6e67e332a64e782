"""Nothing in a step waits for a GPU that does not have to, and nothing lies on another device than the network."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sslbench.backbones import load_backbone
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.features import execution
from sslbench.heads.faster_rcnn import Design, _Anchors, _Pooling
from sslbench.heads.ppm import PPMHead
from sslbench.heads.upernet import UPerNetHead
from sslbench.protocols import _dense_training, _finetune_training
from sslbench.protocols._dense_training import DenseLearner
from sslbench.protocols._detection_pictures import shown
from sslbench.protocols._finetune_network import TunedNetwork
from sslbench.protocols._inversion_options import RECIPES
from sslbench.protocols._inversion_training import InversionLearner, last_map
from sslbench.protocols._occlusion_options import OWN, windows_of
from sslbench.protocols._occlusion_windows import covered
from sslbench.protocols.occlusion import SPEC, Looking, Occlusion
from sslbench.training import crops
from sslbench.training.loop import Step
from tests import waiting
from tests.waiting import META

SHOWN = Preprocessing(input_size=(64, 64), resize=64, mean=(0.5,) * 3, std=(0.25,) * 3)
STEP = Step(0, 0.0, torch.Generator())


class Pictures:
    """Eight, on the device."""

    def __len__(self) -> int:
        return 8

    def take(self, items: list[int]) -> list[torch.Tensor]:
        return [torch.zeros(3, 70, 80, dtype=torch.uint8, device=META) for _ in items]

    def prefetch(self, items: list[int]) -> None:
        pass


def test_a_fine_tuning_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # Which knows no such device.
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **settings: contextlib.nullcontext())
    monkeypatch.setattr(crops, "sent", waiting.sent)
    monkeypatch.setattr(_finetune_training, "sent", waiting.sent)
    network = TunedNetwork(load_backbone("random-init:test_resnet?size=64"), 3, last=None, seed=0).to(META)
    some: Any = SimpleNamespace(pictures=Pictures(), targets=np.arange(8) % 3)
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    learner = _finetune_training.Learner(
        network, optimiser, some, SHOWN, batch=4, drop_last=False, seed=0, bfloat16=False
    )
    learner.batch(STEP)
    with waiting.Waits() as waits:
        batch = learner.batch(STEP)
        learner.loss(batch).backward()
        optimiser.step()
    assert batch[0].device == batch[1].device == META and waits.found == []


@pytest.mark.parametrize("head", [PPMHead(8, 5, width=4), UPerNetHead((4, 8), 5, width=4)])
def test_the_loss_of_a_dense_step(head: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    learner: Any = DenseLearner.__new__(DenseLearner)
    maps = [torch.zeros(2, 4, 16, 16, device=META), torch.zeros(2, 8, 8, 8, device=META)]
    head.to(META).train()
    learner.model, learner._none = lambda images: head(maps), 255
    with waiting.Waits() as waits:
        logits = head(maps)
        labels = torch.zeros(2, *logits.shape[2:], dtype=torch.uint8, device=META)
        DenseLearner.loss(learner, (maps[0], labels)).backward()
    assert waits.found == []


def test_labels_of_a_dense_step_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(tensor: torch.Tensor, place: torch.device) -> str:
        return f"{tuple(tensor.shape)} to {place}"

    monkeypatch.setattr(_dense_training, "sent", told)
    monkeypatch.setattr(_dense_training, "shown", lambda *arguments: torch.zeros(2, 3, 32, 32))
    learner: Any = DenseLearner.__new__(DenseLearner)
    stream = SimpleNamespace(batch=lambda number: [0, 1])
    source = SimpleNamespace(take=lambda items: [np.zeros((32, 32), np.uint8)] * 2, prefetch=lambda items: None)
    learner.model = SimpleNamespace(divisor=32, grid=lambda whole: (8, 8))
    learner._stream = learner._next = stream
    learner._pictures, learner._maps = SimpleNamespace(pictures=source), source
    learner._recipe, learner._sizes = SimpleNamespace(short=(32,), longest=64), [(32, 32)] * 2
    learner._seed, learner._flips, learner._none, learner._outside = 0, False, 255, 255
    learner._draws, learner._preprocessing, learner._device = torch.Generator(), SHOWN, META
    assert DenseLearner.batch(learner, STEP)[1] == "(2, 8, 8) to meta"


def test_pictures_of_several_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "sent", waiting.sent)
    pictures = [torch.zeros(3, 20, 30, dtype=torch.uint8, device=META) for _ in range(3)]
    shapes, flips = [(16, 24), (8, 12), (16, 24)], torch.tensor([True, False, False])
    shown(pictures, shapes, flips, SHOWN, 8)
    with waiting.Waits() as waits:
        found = shown(pictures, shapes, flips, SHOWN, 8)
    assert found.device == META and waits.found == []


def test_anchors() -> None:
    anchors = _Anchors((4.0, 8.0), Design())
    maps = [torch.zeros(1, 4, side, side, device=META) for side in (8, 4)]
    images: Any = SimpleNamespace(image_sizes=[(32, 32)])
    anchors.to(META)
    anchors(images, maps)
    with waiting.Waits() as waits:
        (placed,) = anchors(images, maps)
    assert placed.device == META and len(placed) == 3 * (64 + 16) and waits.found == []


def test_regions_are_told_apart_without_a_list_of_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    pooling = _Pooling((4.0,), Design(channels=1, pooled=1))
    pooled: list[torch.Tensor] = []

    def align(maps: torch.Tensor, regions: torch.Tensor, *arguments: Any, **settings: Any) -> torch.Tensor:
        pooled.append(regions)
        return torch.zeros(len(regions), 1, 1, 1)

    monkeypatch.setattr("sslbench.heads.faster_rcnn.roi_align", align)
    boxes = [torch.rand(2, 4).cumsum(1), torch.zeros(0, 4), torch.rand(3, 4).cumsum(1)]
    pooling({"0": torch.zeros(3, 1, 8, 8)}, boxes, None)
    assert pooled[0][:, 0].tolist() == [0, 0, 2, 2, 2]
    assert torch.equal(pooled[0][:, 1:], torch.cat(boxes))


@pytest.mark.parametrize("output", ["normalised", "sigmoid"])
def test_an_inversion_step(output: str) -> None:
    backbone = load_backbone("random-init:test_resnet?size=64").to("meta")
    pixels = np.zeros((64, 64, 3), np.uint8)
    learner = InversionLearner(last_map(backbone), SHOWN, pixels, RECIPES["quick"], output=output, seed=0, device=META)
    with waiting.Waits() as waits:
        learner.loss(None).backward()
    assert waits.found == []
    # A bias before BatchNorm, which changes nothing, has none.
    gradients = [weight.grad for weight in learner.model.parameters() if weight.grad is not None]
    assert gradients and all(each.device == META for each in gradients)


def test_covered_pictures() -> None:
    corners = torch.zeros(5, dtype=torch.int64, device=META)
    with waiting.Waits() as waits:
        found = covered(torch.zeros(3, 32, 32, device=META), corners, corners, 8, torch.zeros(3, device=META))
        F.adaptive_avg_pool2d(found, 1)
    assert found.device == META and waits.found == []


def test_occlusion_chooses_how_to_run_on_the_device_of_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    class Chosen(Exception):
        pass

    def choose(backbone: Any, **settings: Any) -> Any:
        raise Chosen(settings["device"])

    monkeypatch.setattr(execution, "choose_execution", choose)
    # `cuda` alone would be the first one, where a network on the second cannot be probed.
    network: Any = SimpleNamespace(device=torch.device("meta", 1), preprocessing=SHOWN, name="second")
    protocol = SPEC.build("recipe=own", {})
    assert isinstance(protocol, Occlusion)
    looking = Looking(network, windows_of(OWN, None, (64, 64)), {})
    with pytest.raises(Chosen, match="meta:1"):
        protocol._distances(looking, np.zeros((1, 64, 64, 3), np.uint8))
