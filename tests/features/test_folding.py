"""BatchNorm is folded only where nothing can tell."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.backbones import load_backbone
from sslbench.backbones.module_network import ModuleNetwork
from sslbench.features.folding import adjacent_pairs, fold


class Block(nn.Module):
    """conv1-bn1 and conv2-bn2; `how` decides what stands in their way."""

    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8, track_running_stats=how != "batch")
        if how == "hook":
            self.conv2.register_forward_hook(lambda module, inputs, output: output * 2)
        if how == "alias":
            self.also = self.conv2
        for norm in (self.bn1, self.bn2):
            if norm.running_mean is not None:
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias)

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(images)))
        between = self.conv2(hidden)
        if self.how == "relu":
            between = F.relu(between)
        output = self.bn2(between)
        if self.how == "skip":
            output = output + between
        if self.how == "twice":
            output = output + self.bn2(self.conv2(output.mean(0, keepdim=True).expand_as(hidden[:, :, :-2, :-2])))
        if self.how == "weight":
            output = output * self.conv2.weight.mean()
        if self.how == "branch" and output.sum() > 0:
            output = -output
        return output


FIRST, SECOND = ("conv1", "bn1"), ("conv2", "bn2")


def block(how: str) -> nn.Module:
    torch.manual_seed(0)
    return Block(how).eval()


def test_both_pairs_are_found_and_folded() -> None:
    network = ModuleNetwork(block(""))
    assert adjacent_pairs(network.module) == [FIRST, SECOND]
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    folded, reason = fold(network)
    assert folded is not None
    assert reason == ""
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.module.modules())
    images = torch.rand(4, 3, 12, 12)
    torch.testing.assert_close(folded.embed(images), network.embed(images), rtol=1e-5, atol=1e-5)
    for name, tensor in network.module.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("how", ["relu", "skip", "weight", "hook", "alias", "batch"])
def test_a_pair_with_something_in_between_is_left_alone(how: str) -> None:
    network = ModuleNetwork(block(how))
    assert adjacent_pairs(network.module) == [FIRST]
    folded, _ = fold(network)
    assert folded is not None
    images = torch.rand(4, 3, 12, 12)
    torch.testing.assert_close(folded.embed(images), network.embed(images), rtol=1e-5, atol=1e-5)


def test_a_pair_that_is_called_twice_is_left_alone() -> None:
    assert adjacent_pairs(block("twice")) == [FIRST]


def test_a_network_with_branches_is_not_folded_and_says_why() -> None:
    folded, reason = fold(ModuleNetwork(block("branch")))
    assert folded is None
    assert reason.startswith("the network cannot be traced: TraceError: ")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("random-init:test_resnet?pooling=last-1", "pooling last-1 takes maps"),
        ("pixels", "Pixels need not embed"),
        ("random-init:test_efficientnet", "no BatchNorm follows a convolution"),
    ],
)
def test_other_networks_are_not_folded(name: str, reason: str) -> None:
    folded, why = fold(load_backbone(name).network)
    assert folded is None
    assert why.startswith(reason)


@pytest.mark.parametrize("pooling", ["model", "avg"])
def test_a_resnet_of_timm_loses_every_batchnorm(pooling: str) -> None:
    network = load_backbone(f"random-init:test_resnet?pooling={pooling}").network
    for part in network.module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    folded, _ = fold(network)
    assert folded is not None
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.module.modules())
    images = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(folded.embed(images), network.embed(images), rtol=1e-4, atol=1e-5)
