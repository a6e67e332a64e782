"""A network to train is another one; what is frozen stays so to the last bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sslbench.backbones import Backbone, load_backbone
from sslbench.backbones.backbone import Level
from sslbench.backbones.module_network import ModuleNetwork
from sslbench.backbones.options import Options
from sslbench.backbones.python_source import wrap
from sslbench.errors import BackboneError


class Small(nn.Module):
    """With BatchNorm, a buffer of its own and a second name for a part."""

    input_size = 16

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4))
        self.layer2, self.layer3, self.layer4 = (nn.Sequential(nn.Conv2d(4, 4, 2, stride=2)) for _ in range(3))
        self.also = self.layer1
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += self.training
        return self.layer4(self.layer3(self.layer2(self.also(images)))).flatten(1)


def small() -> Backbone:
    return wrap("small", Small(), Options("small", {}), recipe="test")


@pytest.mark.parametrize("name", ["small", "zoo:simclr", "zoo:mae", "random-init:test_resnet?size=32"])
def test_training_the_copy_leaves_the_backbone_bit_equal(name: str) -> None:
    backbone = small() if name == "small" else load_backbone(name)
    pictures = torch.rand(4, 3, *backbone.preprocessing.input_size, generator=torch.Generator().manual_seed(0))
    before = {key: tensor.clone() for key, tensor in backbone.network.module.state_dict().items()}
    digest, embedded = backbone.digest, backbone.embed(pictures)

    network = backbone.trainable()
    assert network.module.training and not backbone.network.module.training
    network.module.eval()
    torch.testing.assert_close(network.embed(pictures).detach(), embedded, rtol=0, atol=0)
    network.module.train()
    optimiser = torch.optim.SGD(network.module.parameters(), lr=0.5)
    for _ in range(2):
        optimiser.zero_grad()
        network.embed(pictures).square().mean().backward()
        optimiser.step()

    after = backbone.network.module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert backbone.digest == digest
    assert torch.equal(backbone.embed(pictures), embedded)
    trained = network.module.state_dict()
    assert any(not torch.equal(before[key], trained[key]) for key in before)
    assert not any(parameter.requires_grad for parameter in backbone.network.module.parameters())


def test_every_parameter_takes_gradients_and_none_is_shared() -> None:
    backbone = small()
    network = backbone.trainable()
    assert all(parameter.requires_grad for parameter in network.module.parameters())
    places = {tensor.data_ptr() for tensor in backbone.network.module.state_dict().values()}
    assert not places & {tensor.data_ptr() for tensor in network.module.state_dict().values()}
    assert network.module.also is network.module.layer1
    assert isinstance(network, ModuleNetwork) and network.module is not backbone.network.module


def test_a_control_without_weights_cannot_be_trained() -> None:
    with pytest.raises(BackboneError, match="pixels has no parameters to train; use random-init"):
        load_backbone("pixels").trainable()


def test_levels_tell_channels_and_strides() -> None:
    assert small().levels() == (Level(4, (2, 2)), Level(4, (4, 4)), Level(4, (8, 8)), Level(4, (16, 16)))
    resnet = load_backbone("random-init:resnet18?size=64").levels()
    assert resnet == (Level(64, (4, 4)), Level(128, (8, 8)), Level(256, (16, 16)), Level(512, (32, 32)))
    patches = load_backbone("zoo:mae").levels()
    assert len({level.stride for level in patches}) == 1 and len(patches) == 4
    with pytest.raises(BackboneError, match="no feature maps"):
        load_backbone("pixels").levels()
