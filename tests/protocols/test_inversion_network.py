"""The deep image prior: its size, its layers against a second computation, and its faster way against itself as written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.protocols import _inversion_network
from sslbench.protocols._inversion_network import STUDY_SHAPE, Shape, SkipNetwork
from sslbench.protocols._inversion_options import STUDY

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Shape((4, 8, 16), (7, 5, 3), skip=2, inputs=3)


def network(shape: Shape = SMALL) -> SkipNetwork:
    torch.manual_seed(0)
    made = SkipNetwork(shape).double()
    for parameter in made.parameters():
        # BatchNorm's own begin as 1 and 0, of which mistakes with them would tell nothing.
        torch.nn.init.normal_(parameter, 0.1, 0.5)
    return made


def test_the_study_s_network_has_the_known_number_of_parameters() -> None:
    with torch.device("meta"):
        made = SkipNetwork()
        painted = made(torch.empty(1, 32, 256, 256))
    assert sum(parameter.numel() for parameter in made.parameters()) == 2_606_763
    assert painted.shape == (1, 3, 256, 256)
    own = Shape(STUDY.channels, STUDY.kernels, STUDY.skip, STUDY.inputs)
    assert own == STUDY_SHAPE and STUDY.noise % own.divisor == 0


def literally(weights: dict[str, Tensor], noise: Tensor, kernels: tuple[int, ...]) -> Tensor:
    """From the description of the network alone, with BatchNorm by its formula."""

    def norm(maps: Tensor, name: str) -> Tensor:
        mean, variance = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), unbiased=False, keepdim=True)
        weight, bias = (weights[f"{name}.{what}"].view(1, -1, 1, 1) for what in ("weight", "bias"))
        return (maps - mean) / (variance + 1e-5).sqrt() * weight + bias

    def conv(maps: Tensor, name: str) -> Tensor:
        weight = weights[f"{name}.weight"]
        side = weight.shape[2]
        columns = F.unfold(maps, side, padding=side // 2)
        found = weight.flatten(1) @ columns[0] + weights[f"{name}.bias"][:, None]
        return found.view(1, -1, *maps.shape[2:])

    def unit(maps: Tensor, name: str, *, mean: bool = False) -> Tensor:
        maps = conv(maps, f"{name}.conv")
        if mean:
            maps = (maps[..., ::2, :] + maps[..., 1::2, :]) / 2
            maps = (maps[..., ::2] + maps[..., 1::2]) / 2
        maps = norm(maps, f"{name}.norm")
        return torch.where(maps > 0, maps, 0.2 * maps)

    def scale(maps: Tensor, name: str, number: int) -> Tensor:
        below = unit(unit(maps, f"{name}.down", mean=True), f"{name}.down_again")
        if number + 1 < len(kernels):
            below = scale(below, f"{name}.deeper", number + 1)
        below = below.repeat_interleave(2, 2).repeat_interleave(2, 3)
        joined = norm(torch.cat([unit(maps, f"{name}.skip"), below], 1), f"{name}.norm")
        return unit(unit(joined, f"{name}.up"), f"{name}.up_again")

    return conv(scale(noise, "first", 0), "last")


def gradients(made: SkipNetwork, painted: Tensor, wanted: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(F.mse_loss(painted, wanted), list(made.parameters()), allow_unused=True)
    # A bias in front of BatchNorm has no gradient but rounding, or none at all.
    return [torch.zeros_like(own) if each is None else each for own, each in zip(made.parameters(), found, strict=True)]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("folded_from", [0, 16 * 16])
def test_layers_are_those_of_the_description(plain: bool, folded_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inversion_network, "_FOLDED_PIXELS", folded_from)
    made = network()
    noise, wanted = torch.rand(1, 3, 32, 24).double(), torch.rand(1, 3, 32, 24).double()
    expected = literally(dict(made.named_parameters()), noise, SMALL.kernels)
    found = made(noise, plain=plain)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    for own, theirs in zip(gradients(made, found, wanted), gradients(made, expected, wanted), strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-8, atol=1e-11)


def test_both_ways_go_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty steps of Adam in float64, folded everywhere, agree to 1e-6: biases that do nothing aside."""
    monkeypatch.setattr(_inversion_network, "_FOLDED_PIXELS", 0)
    noise, wanted = torch.rand(1, 3, 16, 16).double(), torch.rand(1, 3, 16, 16).double()

    def fitted(**way: Any) -> Tensor:
        made = network()
        optimiser = torch.optim.Adam(made.parameters(), 1e-3)
        for _ in range(20):
            optimiser.zero_grad()
            F.mse_loss(made(noise, **way), wanted).backward()
            optimiser.step()
        return made(noise, **way).detach()

    torch.testing.assert_close(fitted(), fitted(plain=True), rtol=1e-6, atol=1e-6)


def test_large_maps_alone_are_folded() -> None:
    """As shipped: the first scales of the study's network."""
    calls: list[tuple[int, ...]] = []
    made = SkipNetwork(Shape((2, 2, 2), (3, 3, 3), 1, 1))
    made.first.down.conv.register_forward_hook(lambda *_: calls.append((64,)))
    assert made.first.deeper is not None
    made.first.deeper.down.conv.register_forward_hook(lambda *_: calls.append((32,)))
    made(torch.rand(1, 1, 64, 64))
    assert calls == [(32,)]
    made(torch.rand(1, 1, 64, 64), plain=True)
    assert calls == [(32,), (64,), (32,)]


def test_sides_have_to_be_halved_exactly() -> None:
    with pytest.raises(ValueError, match="expected sides divisible by 8"):
        network()(torch.rand(1, 3, 20, 16).double())
