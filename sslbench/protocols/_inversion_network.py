"""The deep image prior: a network of skips whose weights are fitted to one picture (Ulyanov et al. 2018, arXiv 1711.10925)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SLOPE, _EPSILON = 0.2, 1e-5
# Pixels of a map from which on fewer multiplications are worth the sums of weights that they take.
_FOLDED_PIXELS = 1 << 12


@dataclass(frozen=True)
class Shape:
    """Channels and kernels of each scale, fine to coarse, and what all of them share.

    channels: after each scale, downwards and upwards alike. kernels: odd sides. skip: channels of each skip. inputs: of the
    noise.
    """

    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    skip: int = 4
    inputs: int = 32

    @property
    def divisor(self) -> int:
        """What both sides of the noise have to be multiples of, so that halving them is exact."""
        return int(2 ** len(self.channels))


STUDY_SHAPE = Shape((16, 32, 64, 128, 128, 128), (7, 7, 5, 5, 3, 3))
"""As in the deep image prior's own feature inversion and in Zhao et al. 2020 (arXiv 2006.06606), which the study refers to."""


class _Norm(nn.Module):
    """BatchNorm by the picture's own statistics, always: running ones, which nobody would ask for, are not kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor, first: int = 0) -> Tensor:
        """first: the channel that the maps begin with, if they are a part of all."""
        weight, bias = (each[first : first + maps.shape[1]] for each in (self.weight, self.bias))
        return F.batch_norm(maps, None, None, weight, bias, training=True, eps=_EPSILON)


class _Unit(nn.Module):
    """A convolution, BatchNorm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), _Norm(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """The same size."""
        return self.behind(self.conv(maps))

    def behind(self, maps: Tensor) -> Tensor:
        """What follows the convolution."""
        return F.leaky_relu(self.norm(maps), _SLOPE)


class _Scale(nn.Module):
    def __init__(self, inputs: int, shape: Shape, number: int) -> None:
        super().__init__()
        width, kernel = shape.channels[number], shape.kernels[number]
        last = number + 1 == len(shape.channels)
        self.skip = _Unit(inputs, shape.skip, 1)
        self.down, self.down_again = _Unit(inputs, width, kernel), _Unit(width, width, kernel)
        self.deeper = None if last else _Scale(width, shape, number + 1)
        joined = width if last else shape.channels[number + 1]
        self.norm = _Norm(shape.skip + joined)
        self.up, self.up_again = _Unit(shape.skip + joined, width, kernel), _Unit(width, width, 1)


class SkipNetwork(nn.Module):
    """From noise (1, inputs, H, W) to a picture (1, 3, H, W) without bounds.

    On its way down a scale has a convolution, the mean of 2 x 2, another convolution; on its way up what comes from below is
    enlarged by its nearest pixels and joined with the skip, normalised, and passed through a convolution and one of 1 x 1. All
    but the last of the network are followed by BatchNorm and a leaky ReLU, one before the mean excepted, which they follow.

    Computed as written with `plain`, otherwise by an equal way that takes a third of the multiplications: a convolution before
    the mean of 2 x 2 is one with stride 2 and a kernel wider by 1, and one behind an enlargement is its transpose; BatchNorm of
    an enlarged map is the enlarged one of BatchNorm, since each number is there four times. There a bias before BatchNorm, which
    changes nothing, is left out.
    """

    def __init__(self, shape: Shape = STUDY_SHAPE) -> None:
        super().__init__()
        self.shape = shape
        self.first = _Scale(shape.inputs, shape, 0)
        self.last = nn.Conv2d(shape.channels[0], 3, 1)

    def forward(self, noise: Tensor, *, plain: bool = False) -> Tensor:
        """Raises ValueError for sides that are no multiples of the divisor."""
        if any(side % self.shape.divisor for side in noise.shape[2:]):
            raise ValueError(f"noise: expected sides divisible by {self.shape.divisor}, got {tuple(noise.shape[2:])}")
        found: Tensor = self.last(_through(self.first, noise, noise.numel() + 1 if plain else _FOLDED_PIXELS))
        return found


def _through(scale: _Scale, maps: Tensor, folded_from: int) -> Tensor:
    """One scale and those below it. folded_from: pixels of a map from which on it is computed by the equal way."""
    folded = maps.shape[2] * maps.shape[3] >= folded_from
    below = scale.down_again(scale.down.behind((_halved if folded else _halved_plainly)(scale, maps)))
    if scale.deeper is not None:
        below = _through(scale.deeper, below, folded_from)
    joined = (_joined if folded else _joined_plainly)(scale, scale.skip(maps), below)
    found: Tensor = scale.up_again(scale.up.behind(joined))
    return found


def _halved_plainly(scale: _Scale, maps: Tensor) -> Tensor:
    return F.avg_pool2d(scale.down.conv(maps), 2)


def _halved(scale: _Scale, maps: Tensor) -> Tensor:
    conv = scale.down.conv
    return F.conv2d(maps, _summed(conv.weight) / 4, stride=2, padding=conv.padding)


def _joined_plainly(scale: _Scale, beside: Tensor, below: Tensor) -> Tensor:
    found: Tensor = scale.up.conv(scale.norm(torch.cat([beside, F.interpolate(below, scale_factor=2)], dim=1)))
    return found


def _joined(scale: _Scale, beside: Tensor, below: Tensor) -> Tensor:
    conv, skips = scale.up.conv, beside.shape[1]
    weight = _summed(conv.weight[:, skips:]).flip(2, 3).transpose(0, 1)
    enlarged = F.conv_transpose2d(scale.norm(below, skips), weight, stride=2, padding=weight.shape[2] // 2 - 1)
    return enlarged + F.conv2d(scale.norm(beside), conv.weight[:, :skips], padding=conv.padding)


def _summed(weight: Tensor) -> Tensor:
    """Kernels wider by 1: the sum of the four shifts by 0 and 1 in both directions."""
    wide = F.pad(weight, (1, 1, 1, 1))
    wide = wide[..., 1:] + wide[..., :-1]
    return wide[..., 1:, :] + wide[..., :-1, :]
