"""Controls: backbones that know nothing. A task on which a pretrained network does not beat them is broken."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.backbones.backbone import Backbone, Network
from sslbench.backbones.options import Options
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.backbones.timm_source import build_timm
from sslbench.backbones.zoo import SCHEME, build_card, read_card
from sslbench.errors import BackboneError

DEFAULT_ARCH = "test_resnet"


class Statistic(Network):
    """A fixed function of the pixels, without weights."""

    version: ClassVar[int] = 1

    def __init__(self) -> None:
        self.module = nn.Module()

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Not defined for a control without weights."""
        raise BackboneError(
            f"{type(self).__name__} has no feature maps; use random-init as the control for dense tasks"
        )


class Pixels(Statistic):
    """The picture shrunk to 16x16, flattened: 768 values in [0, 1]."""

    def embed(self, images: Tensor) -> Tensor:
        """(B, 768)."""
        return F.interpolate(images, size=(16, 16), mode="area").flatten(1)


class ColourHistogram(Statistic):
    """The joint RGB histogram with 4 bins a channel, as fractions: 64 values."""

    def embed(self, images: Tensor) -> Tensor:
        """(B, 64)."""
        level = (images * 4).long().clamp_(0, 3)
        index = ((level[:, 0] * 4 + level[:, 1]) * 4 + level[:, 2]).flatten(1)
        counts = torch.zeros(len(images), 64, device=images.device)
        return counts.scatter_add_(1, index, torch.ones_like(index, dtype=counts.dtype)) / index.shape[1]


def statistic(name: str, network: Statistic) -> Backbone:
    """A control on 64x64 pictures in [0, 1]."""
    preprocessing = Preprocessing(input_size=(64, 64), resize=64, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    recipe = f"{type(network).__name__}:{network.version}"
    return Backbone(name=name, network=network, preprocessing=preprocessing, recipe=recipe, from_code=False)


def random_init(name: str, arch: str, options: Options) -> Backbone:
    """A timm architecture with its own initialisation from a seed (`random-init[:ARCH][?seed=0&size=N]`).

    Bare it is a small ResNet on 64 pixels; an architecture has its own input size. `random-init:zoo:NAME` has the
    architecture and the preprocessing of that backbone of the zoo.
    """
    seed = options.integer("seed", 0)
    details = {"control": True, "seed": seed}
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would reseed the GPUs too.
        torch.default_generator.manual_seed(seed)
        if arch.startswith(f"{SCHEME}:"):
            return build_card(name, read_card(arch), options, details)
        # The bare control is small on purpose. A named architecture is asked as it is by its own name.
        size = None if arch else options.integer("size", 64, least=1)
        return build_timm(name, arch or DEFAULT_ARCH, options, pretrained=False, size=size, details=details)
