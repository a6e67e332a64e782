"""Maps of one width at strides that double, from whatever maps a network gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import FeaturePyramidNetwork

from sslbench.errors import BackboneError

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Level

# Of the finest map of a pyramid that is made of a single map, where that allows; a pyramid has four maps.
FINEST, MAPS = 4.0, 4


class Pyramid(nn.Module):
    """Maps (B, channels, H, W) at strides that double; the last has every second pixel of the one before.

    strides: pixels of the picture to one of each map, fine to coarse. kind: how it is made, for the record.
    """

    strides: tuple[float, ...]
    kind: str

    @property
    def divisor(self) -> int:
        """What height and width of a picture have to be multiples of, so that every map but the last divides evenly."""
        return math.ceil(self.strides[-2])


class MapsPyramid(Pyramid):
    """A feature pyramid network (Lin et al. 2017) over maps whose strides double: torchvision's, which is detectron2's.

    1x1 convolutions from each map, the coarser one added after nearest enlargement, a 3x3 convolution; no norms.
    """

    kind = "feature pyramid network"

    def __init__(self, levels: Sequence[Level], channels: int) -> None:
        super().__init__()
        self.strides = (*(level.stride[0] for level in levels), 2 * levels[-1].stride[0])
        self.fpn = FeaturePyramidNetwork([level.channels for level in levels], channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """From the network's maps, fine to coarse."""
        made = list(self.fpn({str(number): each for number, each in enumerate(maps)}).values())
        return [*made, _every_second(made[-1])]


class SinglePyramid(Pyramid):
    """A simple feature pyramid over the last map of a plain vision transformer (Li et al. 2022, arXiv 2203.16527, ViTDet).

    The map is enlarged by transposed convolutions, left as it is, and reduced by max pooling; then a 1x1 and a 3x3 convolution
    with a layer norm each. Four maps, the finest at stride 4 where a factor of at most 4 gives it: x4, x2, x1, x0.5 for patches
    of 16 pixels, as in the paper; x2, x1, x0.5, x0.25 for patches of 8.
    """

    kind = "simple feature pyramid of the last map (an extension: the study has no such network)"

    def __init__(self, level: Level, channels: int) -> None:
        super().__init__()
        stride = level.stride[0]
        up = min(2, max(0, round(math.log2(stride / FINEST))))
        steps = [up - place for place in range(MAPS)]
        self.strides = tuple(stride / 2**step for step in (*steps, steps[-1] - 1))
        self.branches = nn.ModuleList(_branch(level.channels, channels, step) for step in steps)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """From the network's maps, of which the last one counts."""
        made = [branch(maps[-1]) for branch in self.branches]
        return [*made, _every_second(made[-1])]


class _LayerNorm2d(nn.LayerNorm):
    """Over the channels of each pixel."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _branch(width: int, channels: int, step: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(step):
        if number:
            layers += [_LayerNorm2d(width), nn.GELU()]
        layers.append(nn.ConvTranspose2d(width, width // 2, 2, stride=2))
        width //= 2
    if step < 0:
        layers.append(nn.MaxPool2d(2**-step))
    for kernel in (1, 3):
        layers += [nn.Conv2d(width, channels, kernel, padding=kernel // 2, bias=False), _LayerNorm2d(channels)]
        width = channels
    return nn.Sequential(*layers)


def _every_second(finer: Tensor) -> Tensor:
    return F.max_pool2d(finer, kernel_size=1, stride=2)


def pyramid(levels: Sequence[Level], channels: int, name: str) -> Pyramid:
    """The pyramid that fits a network's levels.

    levels: as `Backbone.levels` gives them. name: of the network, for messages. Raises BackboneError as `strides_double`.
    """
    return MapsPyramid(levels, channels) if strides_double(levels, name) else SinglePyramid(levels[-1], channels)


def strides_double(levels: Sequence[Level], name: str) -> bool:
    """Whether the strides double from map to map, or else are all the same.

    Raises BackboneError for strides that do neither, or differ between height and width.
    """
    strides = [level.stride for level in levels]
    if all(high == wide for high, wide in strides):
        if len(levels) > 1 and all(fine[0] * 2 == coarse[0] for fine, coarse in pairwise(strides)):
            return True
        if len(set(strides)) == 1:
            return False
    shown = ", ".join(f"{high:g} x {wide:g}" for high, wide in strides)
    raise BackboneError(
        f"{name}: its maps have the strides {shown}; expected strides that double from map to map, or maps of one stride. "
        "Choose another picture size (?size=N), or give the network a feature_maps(images) of such maps"
    )
