"""Pyramids: torchvision's over maps whose strides double, ViTDet's over a single one."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from sslbench.backbones.backbone import Level
from sslbench.errors import BackboneError
from sslbench.heads.pyramid import MapsPyramid, SinglePyramid, pyramid

LEVELS = [Level(width, (stride, stride)) for width, stride in ((8, 4.0), (16, 8.0), (24, 16.0), (32, 32.0))]


def test_maps_of_doubling_strides_get_torchvisions_network() -> None:
    torch.manual_seed(0)
    made = pyramid(LEVELS, 6, "net")
    assert isinstance(made, MapsPyramid) and made.strides == (4, 8, 16, 32, 64) and made.divisor == 32
    whole = FeaturePyramidNetwork([8, 16, 24, 32], 6, LastLevelMaxPool())
    whole.load_state_dict(made.fpn.state_dict())
    maps = [torch.randn(2, level.channels, int(96 / level.stride[0]), int(64 / level.stride[0])) for level in LEVELS]
    wanted = whole({str(number): each for number, each in enumerate(maps)})
    found = made(maps)
    assert [tuple(each.shape[2:]) for each in found] == [(24, 16), (12, 8), (6, 4), (3, 2), (2, 1)]
    assert all(torch.equal(one, other) for one, other in zip(found, wanted.values(), strict=True))
    # No norms, and biases of 0: the study's.
    assert {name.rpartition(".")[2] for name, _ in made.named_parameters()} == {"weight", "bias"}
    assert len(list(made.parameters())) == 16 and not any(
        p.any() for n, p in made.named_parameters() if n.endswith("bias")
    )


@pytest.mark.parametrize(
    ("patch", "strides"),
    [
        (16, (4, 8, 16, 32, 64)),
        (8, (4, 8, 16, 32, 64)),
        (14, (3.5, 7, 14, 28, 56)),
        (32, (8, 16, 32, 64, 128)),
        (4, (4, 8, 16, 32, 64)),
    ],
)
def test_a_single_map_is_enlarged_and_reduced(patch: int, strides: tuple[float, ...]) -> None:
    made = pyramid([Level(16, (float(patch), float(patch)))] * 4, 6, "vit")
    assert isinstance(made, SinglePyramid) and made.strides == strides
    side = made.divisor * 2
    assert side % patch == 0
    found = made(
        [torch.full((1, 16, side // patch, side // patch), torch.nan)] * 3
        + [torch.randn(1, 16, side // patch, side // patch)]
    )
    assert [each.shape[2] for each in found[:-1]] == [side / stride for stride in strides[:-1]]
    assert all(torch.isfinite(each).all() and each.shape[1] == 6 for each in found)


@pytest.mark.parametrize(
    "strides",
    [
        [(4.0, 4.0), (8.0, 8.0), (8.0, 8.0)],
        [(4.0, 4.0), (12.0, 12.0)],
        [(4.0, 8.0), (8.0, 16.0)],
        [(7.2, 7.2), (14.0, 14.0)],
    ],
)
def test_strides_that_fit_no_pyramid_are_told(strides: list[tuple[float, float]]) -> None:
    with pytest.raises(BackboneError, match=r"net: its maps have the strides .*; expected strides that double"):
        pyramid([Level(8, stride) for stride in strides], 6, "net")
