"""Dilated ResNets against torchvision's and timm's own, and networks that are left as they are."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from sslbench.backbones.checkpoints.same_padding import use_same_padding
from sslbench.heads.dilation import dilate


def same_weights(one: nn.Module, other: nn.Module) -> None:
    torch.manual_seed(0)
    for part in one.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.1, 0.1)
    other.load_state_dict(one.state_dict())


@torch.no_grad()
def test_a_resnet50_becomes_torchvisions_dilated_one() -> None:
    made = torchvision.models.resnet50(weights=None).eval()
    wanted = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, True, True]).eval()
    same_weights(made, wanted)
    images = torch.randn(1, 3, 48, 72)
    before = made(images)
    assert dilate(made)
    assert torch.equal(made(images), wanted(images)) and not torch.equal(made(images), before)
    spread = [[part.dilation[0] for part in stage.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)]
              for stage in (made.layer3, made.layer4)]  # fmt: skip
    assert spread == [[1, 2, 2, 2, 2, 2], [2, 4, 4]]


@pytest.mark.parametrize("name", ["test_resnet", "resnet26d", "seresnext26d_32x4d"])
@torch.no_grad()
def test_other_resnets_become_timms_at_output_stride_8(name: str) -> None:
    made = timm.create_model(name, num_classes=0).eval()
    wanted = timm.create_model(name, num_classes=0, output_stride=8).eval()
    same_weights(made, wanted)
    images = torch.randn(1, 3, 48, 72)
    assert dilate(made)
    found = made.forward_features(images)
    assert found.shape[2:] == (6, 9) and torch.equal(found, wanted.forward_features(images))


@torch.no_grad()
def test_tensorflows_padding_goes_along() -> None:
    """At stride 1 it is the same on both sides, so that only what lies before the dilated stages differs."""
    made, other = (timm.create_model("resnet26", num_classes=0).eval() for _ in range(2))
    same_weights(made, other)
    use_same_padding(made, "all")
    assert dilate(made) and dilate(other)
    maps = torch.randn(1, 512, 6, 9)
    stages = [nn.Sequential(network.layer3, network.layer4) for network in (made, other)]
    assert torch.equal(stages[0](maps), stages[1](maps))
    assert made.forward_features(torch.randn(1, 3, 48, 72)).shape[2:] == (6, 9)


@pytest.mark.parametrize(
    "name", ["resnetblur18", "test_vit", "test_convnext", "test_efficientnet", "swin_tiny_patch4_window7_224"]
)
def test_other_networks_are_left_as_they_are(name: str) -> None:
    made = timm.create_model(name, num_classes=0)
    before = str(made)
    assert not dilate(made)
    assert str(made) == before


def test_dilating_twice_is_refused() -> None:
    made = timm.create_model("test_resnet", num_classes=0)
    assert dilate(made) and not dilate(made)
