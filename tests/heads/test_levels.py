"""What a dense head is put on: maps as they are, patch grids rescaled, the last map at stride 8."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sslbench.backbones.backbone import Level
from sslbench.errors import BackboneError
from sslbench.heads.levels import LastLevel, OwnLevels, RescaledLevels, last_level, several_levels

RESNET = [Level(width, (stride, stride)) for width, stride in ((8, 4.0), (16, 8.0), (24, 16.0), (32, 32.0))]


def test_maps_whose_strides_double_are_taken_as_they_are() -> None:
    made = several_levels(RESNET, "net", 0.1)
    assert isinstance(made, OwnLevels) and made.channels == (8, 16, 24, 32) and made.divisor == 32
    assert made.strides == ((4, 4), (8, 8), (16, 16), (32, 32))
    maps = [torch.zeros(1)] * 4
    assert all(one is other for one, other in zip(made(maps), maps, strict=True))
    with pytest.raises(
        BackboneError, match="net: its maps have the strides 4 x 4, 12 x 12; expected strides that double"
    ):
        several_levels([Level(8, (4.0, 4.0)), Level(8, (12.0, 12.0))], "net", 0.1)


@pytest.mark.parametrize(
    ("patch", "strides", "divisor"),
    [
        (16, (4, 8, 16, 32), 32),
        (8, (4, 8, 16, 32), 32),
        (14, (3.5, 7, 14, 28), 28),
        (32, (8, 16, 32, 64), 64),
        (4, (4, 8, 16, 32), 32),
    ],
)
def test_patch_grids_are_enlarged_and_reduced(patch: int, strides: tuple[float, ...], divisor: int) -> None:
    made = several_levels([Level(6, (float(patch), float(patch)))] * 4, "vit", 0.1)
    assert isinstance(made, RescaledLevels) and made.channels == (6,) * 4 and made.divisor == divisor
    assert made.strides == tuple((stride, stride) for stride in strides)
    maps = [torch.full((2, 6, 2 * divisor // patch, 3 * divisor // patch), float(number)) for number in range(4)]
    found = made(maps)
    assert [tuple(each.shape[2:]) for each in found] == [(2 * divisor / s, 3 * divisor / s) for s in strides]
    # Each comes from a depth of its own: the map left as it is, and the reduced one.
    for number, stride in enumerate(strides):
        if stride == patch:
            assert torch.equal(found[number], maps[number])
        elif stride == 2 * patch:
            assert torch.equal(found[number], F.max_pool2d(maps[number], 2))


@pytest.mark.parametrize(("count", "places"), [(1, [0] * 4), (2, [0, 0, 1, 1]), (3, [0, 1, 1, 2]), (4, [0, 1, 2, 3])])
def test_few_grids_are_taken_more_than_once(count: int, places: list[int]) -> None:
    levels = [Level(width, (32.0, 32.0)) for width in (5, 6, 7, 8)[:count]]
    assert several_levels(levels, "vit", 0.1).channels == tuple(levels[place].channels for place in places)


def test_the_last_map_is_brought_near_stride_8() -> None:
    dilated = last_level(RESNET, dilated=True)
    assert (dilated.channels, dilated.strides, dilated.divisor) == ((32,), ((8, 8),), 8)
    left = last_level(RESNET, dilated=False)
    assert (left.strides, left.divisor) == (((32, 32),), 32) and "not dilated" in left.kind
    for patch, factor in ((16, 2), (14, 2), (8, 1), (32, 4), (4, 1)):
        made = last_level([Level(6, (float(patch), float(patch)))] * 4, dilated=False)
        assert isinstance(made, LastLevel) and made.divisor == patch
        assert made.strides == ((patch / factor, patch / factor),)
        last = torch.randn(2, 6, 3, 5)
        (found,) = made([torch.full((1, 6, 3, 5), torch.nan), last])
        wanted = F.interpolate(last, (3 * factor, 5 * factor), mode="bilinear", align_corners=False)
        assert torch.equal(found, wanted)
