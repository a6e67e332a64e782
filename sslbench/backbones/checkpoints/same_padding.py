"""TensorFlow's SAME padding for networks that were trained with it, in place of torch's symmetric one."""

from __future__ import annotations

from typing import Any

from torch import nn


def use_same_padding(module: nn.Module, extent: str) -> None:
    """Replace the padding of a ResNet in place, so that an input is padded as TensorFlow and Haiku pad it.

    extent: "all" for strided convolutions and the max-pool (Haiku's ResNet: 7x7/2 on 224 pixels pads 2 before and 3
    behind, 3x3/2 pads 0 and 1), "pool" for the max-pool alone (SimCLR pads its strided convolutions symmetrically, as
    torch does). With stride 1 both ways agree.
    """
    import timm.layers

    layers: Any = timm.layers
    # A list, because the network changes on the way.
    for name, part in list(module.named_modules()):
        parent = module.get_submodule(name.rpartition(".")[0])
        if isinstance(part, nn.MaxPool2d):
            setattr(
                parent,
                name.rpartition(".")[2],
                layers.create_pool2d("max", part.kernel_size, part.stride, padding="same"),
            )
        elif extent == "all" and isinstance(part, nn.Conv2d) and part.stride != (1, 1):
            same = layers.Conv2dSame(part.in_channels, part.out_channels, part.kernel_size, part.stride, bias=False)
            same.weight = part.weight
            setattr(parent, name.rpartition(".")[2], same)
