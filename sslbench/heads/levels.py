"""Which of a network's maps a dense head is put on, and at which strides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.heads.pyramid import FINEST, MAPS, strides_double

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Level


class Levels(nn.Module):
    """Maps for a head, of the maps that a network gives.

    channels, strides: of each, fine to coarse; a stride is in pixels of the picture to one of the map, as (height, width).
    divisor: what height and width of a picture are padded to multiples of. kind: how they are made, for the record.
    """

    channels: tuple[int, ...]
    strides: tuple[tuple[float, float], ...]
    divisor: int
    kind: str

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Of a network's maps, fine to coarse."""
        raise NotImplementedError


class OwnLevels(Levels):
    """The maps as they are, whose strides double."""

    kind = "the network's maps"

    def __init__(self, levels: Sequence[Level]) -> None:
        super().__init__()
        self.channels, self.strides = tuple(x.channels for x in levels), tuple(x.stride for x in levels)
        self.divisor = math.ceil(self.strides[-1][0])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """All of them."""
        return list(maps)


class RescaledLevels(Levels):
    """Four maps of one stride, from blocks that are spaced evenly, enlarged and reduced: x4, x2, x1, x0.5 for patches of 16.

    Enlarged by transposed convolutions, reduced by max pooling, as in the UPerNet of BEiT (Bao et al. 2021, arXiv 2106.08254).
    The finest is at stride 4 where a factor of at most 4 gives it. A network with fewer maps has some of them twice.
    """

    kind = "patch grids of four depths, rescaled (an extension: the study has no such network)"

    def __init__(self, levels: Sequence[Level], momentum: float) -> None:
        super().__init__()
        stride = levels[0].stride[0]
        up = min(2, max(0, round(math.log2(stride / FINEST))))
        self._places = [max(0, round((number + 1) * len(levels) / MAPS) - 1) for number in range(MAPS)]
        self.channels = tuple(levels[place].channels for place in self._places)
        self.strides = tuple((stride / 2 ** (up - number),) * 2 for number in range(MAPS))
        self.divisor = math.ceil(self.strides[-1][0])
        self.scales = nn.ModuleList(_scale(width, up - number, momentum) for number, width in enumerate(self.channels))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Four, at strides that double."""
        return [scale(maps[place]) for scale, place in zip(self.scales, self._places, strict=True)]


class LastLevel(Levels):
    """The last map alone, enlarged bilinearly by a whole factor."""

    def __init__(self, level: Level, factor: int, kind: str) -> None:
        super().__init__()
        self._factor, self.kind = factor, kind
        self.channels, self.strides = (level.channels,), ((level.stride[0] / factor, level.stride[1] / factor),)
        self.divisor = math.ceil(max(level.stride))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One."""
        last = maps[-1]
        if self._factor > 1:
            last = F.interpolate(last, scale_factor=self._factor, mode="bilinear", align_corners=False)
        return [last]


def several_levels(levels: Sequence[Level], name: str, momentum: float) -> Levels:
    """Maps at strides that double. levels: as `Backbone.levels` gives them; name: of the network, for messages.

    momentum: of BatchNorm's statistics. Raises BackboneError for strides that neither double nor are all the same.
    """
    return OwnLevels(levels) if strides_double(levels, name) else RescaledLevels(levels, momentum)


def last_level(levels: Sequence[Level], *, dilated: bool) -> LastLevel:
    """The last map, at stride 8 as far as it can be had.

    levels: as `Backbone.levels` gives them. dilated: whether the network was changed since, to give a quarter of the last stride.
    """
    from sslbench.backbones.backbone import Level
    from sslbench.heads.dilation import STRIDE

    last = levels[-1]
    if dilated:
        return LastLevel(Level(last.channels, (last.stride[0] / 4, last.stride[1] / 4)), 1, "the last map, dilated")
    if len({level.stride for level in levels}) == 1:
        factor = max(1, 2 ** round(math.log2(min(last.stride) / STRIDE)))
        what = f"the last patch grid, x{factor}" if factor > 1 else "the last patch grid"
        return LastLevel(last, factor, f"{what} (an extension: the study has no such network)")
    return LastLevel(last, 1, "the last map, not dilated (an extension: the study has no such network)")


def _scale(width: int, step: int, momentum: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(step):
        if number:
            layers += [nn.BatchNorm2d(width, momentum=momentum), nn.GELU()]
        layers.append(nn.ConvTranspose2d(width, width, 2, stride=2))
    if step < 0:
        layers.append(nn.MaxPool2d(2**-step))
    return nn.Sequential(*layers)
