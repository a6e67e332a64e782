"""Pyramid pooling and UPerNet against a second computation from the definition, and their sizes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.errors import TrainingError
from sslbench.heads.ppm import PPMHead
from sslbench.heads.upernet import UPerNetHead

WIDTHS = (3, 4, 5, 6)


def maps_of(batch: int = 2, high: int = 24, wide: int = 32) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(batch, width, high // 2**n, wide // 2**n) for n, width in enumerate(WIDTHS)]


def unlike(head: nn.Module) -> nn.Module:
    """No weight or statistic as it begins, so that one left out would show."""
    torch.manual_seed(2)
    for part in head.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return head


def layer(weights: dict[str, Tensor], name: str, maps: Tensor, *, training: bool) -> Tensor:
    """Convolution without bias, batch norm, ReLU."""
    weight = weights[f"{name}.0.weight"]
    maps = F.conv2d(maps, weight, padding=weight.shape[-1] // 2)
    if training:
        mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), unbiased=False)
    else:
        mean, variance = weights[f"{name}.1.running_mean"], weights[f"{name}.1.running_var"]
    columns = [
        each[None, :, None, None] for each in (mean, variance, weights[f"{name}.1.weight"], weights[f"{name}.1.bias"])
    ]
    return ((maps - columns[0]) / (columns[1] + 1e-5).sqrt() * columns[2] + columns[3]).clamp(min=0)


def bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """From the definition: corners are not aligned, so pixel i of n lies at (i + 0.5) / n."""
    for axis, wanted in ((2, size[0]), (3, size[1])):
        count = maps.shape[axis]
        place = ((torch.arange(wanted, dtype=torch.float64) + 0.5) * count / wanted - 0.5).clamp(0, count - 1)
        low = place.floor().long()
        share = (place - low).to(maps.dtype).view(-1, *[1] * (3 - axis))
        high = (low + 1).clamp(max=count - 1)
        maps = maps.index_select(axis, low) * (1 - share) + maps.index_select(axis, high) * share
    return maps


def averaged(maps: Tensor, parts: int) -> Tensor:
    """The mean over each part of the picture; parts share a row where they do not divide it."""
    high, wide = maps.shape[2:]

    def bounds(number: int, count: int) -> slice:
        return slice(number * count // parts, math.ceil((number + 1) * count / parts))

    rows = [[maps[:, :, bounds(y, high), bounds(x, wide)].mean((2, 3)) for x in range(parts)] for y in range(parts)]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


@pytest.mark.parametrize("training", [False, True])
def test_pyramid_pooling_is_what_it_is_defined_as(training: bool) -> None:
    head = unlike(PPMHead(6, 5, width=4, dropout=0.0)).train(training)
    weights = {name: value.clone() for name, value in head.state_dict().items()}
    last = torch.randn(3, 6, 7, 9)
    parts = [last]
    for number, pool in enumerate((1, 2, 3, 6)):
        parts.append(bilinear(layer(weights, f"branches.{number}", averaged(last, pool), training=training), (7, 9)))
    fused = layer(weights, "fuse", torch.cat(parts, 1), training=training)
    wanted = F.conv2d(fused, weights["classify.weight"], weights["classify.bias"])
    # Maps before the last one do not count.
    torch.testing.assert_close(head([torch.full((3, 1, 2, 2), torch.nan), last]), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_upernet_is_what_it_is_defined_as(training: bool) -> None:
    head = unlike(UPerNetHead(WIDTHS, 5, width=4)).train(training)
    weights = {name: value.clone() for name, value in head.state_dict().items()}
    maps = maps_of()
    top = maps[3]
    parts = [top]
    for number, pool in enumerate((1, 2, 3, 6)):
        # Enlarged before the convolution: in training its statistics count parts by their area.
        parts.append(layer(weights, f"branches.{number}", bilinear(averaged(top, pool), (3, 4)), training=training))
    levels = {3: layer(weights, "top", torch.cat(parts, 1), training=training)}
    current = levels[3]
    for number in (2, 1, 0):
        own = layer(weights, f"laterals.{number}", maps[number], training=training)
        current = own + bilinear(current, tuple(own.shape[2:]))
        levels[number] = layer(weights, f"smooth.{number}", current, training=training)
    fused = layer(weights, "fuse", torch.cat([bilinear(levels[n], (24, 32)) for n in range(4)], 1), training=training)
    wanted = F.conv2d(fused, weights["classify.weight"], weights["classify.bias"])
    torch.testing.assert_close(head(maps), wanted, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(part, nn.Dropout | nn.Dropout2d) for part in head.modules())


def test_the_studys_sizes() -> None:
    """Golden numbers of parameters: 23.1 M for 2,048 channels and 40 codewords, 40.6 M for a ResNet-50's maps and 150 classes."""
    with torch.device("meta"):
        heads = [PPMHead(2048, 40), UPerNetHead((256, 512, 1024, 2048), 150)]
    assert [sum(parameter.numel() for parameter in head.parameters()) for head in heads] == [23_094_312, 40_590_486]
    norms = [part for head in heads for part in head.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == 5 + 12 and {norm.momentum for norm in norms} == {0.001}
    assert [part.p for part in heads[0].modules() if isinstance(part, nn.Dropout2d)] == [0.1]


def test_weights_begin_as_in_the_official_code() -> None:
    torch.manual_seed(0)
    head = PPMHead(256, 40, width=64)
    for part in head.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert bool((part.weight == 1).all()) and bool((part.bias == 1e-4).all())
        elif isinstance(part, nn.Conv2d):
            inputs = part.weight[0].numel()
            assert part.weight.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.05)
    # torch's own: uniform up to one by the root of the inputs.
    assert 0.5 / 8 < head.classify.bias.abs().max().item() <= 1 / 8


def test_one_picture_is_too_few_to_train_on() -> None:
    maps = maps_of(batch=1)
    for head in (PPMHead(6, 5, width=4), UPerNetHead(WIDTHS, 5, width=4)):
        with pytest.raises(TrainingError, match=r"was given one picture to train on; expected at least 2.*batch=N"):
            head.train()(maps)
        assert head.eval()(maps).shape[:2] == (1, 5)
