"""Output stride 8 for ResNets: the last two stages without stride, their convolutions dilated instead (Yu and Koltun 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame
from torch import nn

# By how much the 3x3 convolutions behind each stage's stride are spread; the one that had the stride by half of it.
DILATIONS = {"layer3": 2, "layer4": 4}
STRIDE = 8
_ONE = (1, 1)


def dilate(body: nn.Module) -> bool:
    """Take the stride from layer3 and layer4 in place: the last map has stride 8 instead of 32. Whether that was possible.

    Convolutions of 3x3 are dilated by 1, 2, 2, ... in layer3 and by 2, 4, 4, ... in layer4, which is torchvision's
    `replace_stride_with_dilation=[False, True, True]` and timm's `output_stride=8`. False, with nothing changed, for a network
    that is not built like their ResNets: without these stages, or with other layers in them that have a stride or are dilated.
    """
    stages = {name: getattr(body, name, None) for name in DILATIONS}
    if not all(isinstance(stage, nn.Module) and _known(stage) for stage in stages.values()):
        return False
    for name, stage in stages.items():
        assert isinstance(stage, nn.Module)
        for parent, child, part in list(_spatial(stage)):
            if isinstance(part, nn.Conv2d):
                _spread(part, DILATIONS[name])
            elif _pair(part.stride) != _ONE:
                # As timm has it: of one pixel and its neighbours to the right and below.
                pool = AvgPool2dSame(2, 1, ceil_mode=part.ceil_mode, count_include_pad=part.count_include_pad)
                setattr(parent, child, pool)
    return True


def _spread(part: nn.Conv2d, dilation: int) -> None:
    if part.stride != _ONE:
        dilation //= 2
        part.stride = _ONE
    if part.kernel_size == (3, 3):
        part.dilation = (dilation, dilation)
        if not isinstance(part, Conv2dSame):
            # TensorFlow's padding follows from the dilation by itself.
            part.padding = (dilation, dilation)


def _known(stage: nn.Module) -> bool:
    """Whether a stage halves its map by convolutions or averages that are known here."""
    strided = 0
    for _, _, part in _spatial(stage):
        stride = _pair(part.stride)
        if isinstance(part, nn.Conv2d):
            paddings = {0, (0, 0)} if isinstance(part, Conv2dSame) else {tuple(side // 2 for side in part.kernel_size)}
            if part.kernel_size not in (_ONE, (3, 3)) or part.dilation != _ONE or part.padding not in paddings:
                return False
        elif type(part) is not nn.AvgPool2d or (stride != _ONE and _pair(part.kernel_size) != (2, 2)):
            return False
        if stride not in (_ONE, (2, 2)):
            return False
        strided += stride != _ONE
    return strided > 0


def _spatial(stage: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """Every layer with a stride, with its parent and its name there."""
    for parent in stage.modules():
        for name, part in parent.named_children():
            # Blocks keep the stride that they were made with, too.
            if hasattr(part, "stride") and not list(part.children()):
                yield parent, name, part


def _pair(value: object) -> object:
    return (value, value) if isinstance(value, int) else value
