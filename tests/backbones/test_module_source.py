"""Networks given as modules: their preprocessing, weights of other types, copies, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms import v2

import sslbench
from sslbench.backbones import Backbone, load_backbone, register_backbone
from sslbench.backbones.copying import independent_copy
from sslbench.backbones.module_source import wrap
from sslbench.backbones.options import Options
from sslbench.errors import BackboneError
from tests.conftest import Registries

IMAGENET = (0.485, 0.456, 0.406)


def built(network: nn.Module, **options: str) -> Backbone:
    return wrap("net", network, Options("net", options), recipe="test")


def small(**attributes: Any) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for name, value in {"input_size": 16, **attributes}.items():
        setattr(network, name, value)
    return network


class Normalising(nn.Module):
    """Keeps statistics as tensors, under some names, with some shape, registered or not."""

    input_size = 16

    def __init__(
        self, *shape: int, value: float = 0.4, names: tuple[str, str] = ("mean", "std"), plain: bool = False
    ) -> None:
        super().__init__()
        for name in names:
            tensor = torch.full((3,), value).view(*shape) if shape else torch.tensor(value)
            setattr(self, name, tensor) if plain else self.register_buffer(name, tensor)
        self.names = names
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        mean, std = (getattr(self, name) for name in self.names)
        return (images - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)


OWN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "(3, 1, 1)": (lambda: Normalising(3, 1, 1), "mean, std"),
    "(1, 3, 1, 1)": (lambda: Normalising(1, 3, 1, 1), "mean, std"),
    "(3,)": (lambda: Normalising(3), "mean, std"),
    "one number": (lambda: Normalising(), "mean, std"),
    "not registered": (lambda: Normalising(3, plain=True), "mean, std"),
    "other names": (lambda: Normalising(3, names=("pixel_mean", "pixel_std")), "pixel_mean, pixel_std"),
    "a layer": (lambda: nn.Sequential(Normalising(3), nn.Conv2d(3, 4, 3)), "0.mean, 0.std"),
    "torchvision": (
        lambda: nn.Sequential(torchvision.transforms.Normalize((0.4,) * 3, (0.2,) * 3), nn.Conv2d(3, 4, 3)),
        "0.mean, 0.std",
    ),
    "torchvision v2": (lambda: nn.Sequential(v2.Normalize([0.4] * 3, [0.2] * 3), nn.Conv2d(3, 4, 3)), "0.mean, 0.std"),
}


@pytest.mark.parametrize("kind", OWN)
def test_a_network_that_normalises_by_itself_gets_plain_pictures(kind: str) -> None:
    make, names = OWN[kind]
    backbone = built(make(), size="16")
    assert (backbone.preprocessing.mean, backbone.preprocessing.std) == ((0, 0, 0), (1, 1, 1))
    assert backbone.details["normalisation"] == f"the network's own, by {names}"


def test_tensors_that_are_no_statistics_of_pictures_are_left_alone() -> None:
    class Whitened(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 512, 3)
            self.register_buffer("mean", torch.zeros(512))
            self.register_buffer("std", torch.ones(512))

        def forward(self, images: Tensor) -> Tensor:
            return (self.conv(images).mean(dim=(2, 3)) - self.mean) / self.std

    backbone = built(Whitened(), size="16")
    assert backbone.preprocessing.mean == IMAGENET
    assert "normalisation" not in backbone.details


def test_a_layer_that_normalises_something_else_is_left_alone() -> None:
    backbone = built(nn.Sequential(nn.Conv2d(3, 3, 3), Normalising(3)), size="16")
    assert backbone.preprocessing.mean == IMAGENET


def test_plain_attributes_are_applied() -> None:
    backbone = built(small(mean=[0.1, 0.2, 0.3], std=np.array([0.5, 0.6, 0.7])))
    assert (backbone.preprocessing.mean, backbone.preprocessing.std) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("mean", (123.675, 116.28, 103.53)), ("mean", (-0.1, 0.5, 0.5)), ("std", (58.395, 57.12, 57.375)), ("std", (0, 0.2, 0.2)),
        ("std", (-0.2,) * 3), ("mean", (float("nan"),) * 3), ("std", (float("inf"),) * 3),
    ],
)  # fmt: skip
def test_statistics_that_cannot_be_meant_are_refused(attribute: str, value: tuple[float, ...]) -> None:
    with pytest.raises(BackboneError, match=rf"net: {attribute} .* cannot be meant: pictures are in \[0, 1\].*by 255"):
        built(small(**{attribute: value}))


def test_a_network_that_wants_255_levels_says_so() -> None:
    with pytest.raises(BackboneError, match=r"normalises by itself, with mean 100, 100, 100, .*multiplies by 255"):
        built(Normalising(3, value=100.0))
    # Options are somebody's own word.
    backbone = built(Normalising(3, value=100.0), mean="0", std="0.00392157")
    pictures = np.full((1, 16, 16, 3), 100, dtype=np.uint8)
    torch.testing.assert_close(backbone.preprocess(pictures), torch.full((1, 3, 16, 16), 100.0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", ["big", (1, 2, 3.5), [], 0, -3, (16, 0)])
def test_an_input_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(BackboneError, match="net: attribute input_size"):
        built(small(input_size=size))


@pytest.mark.parametrize("size", [16, (16, 16), (3, 16, 16), [16, 16], np.int64(16), torch.tensor([16, 16])])
def test_input_sizes(size: Any) -> None:
    assert built(small(input_size=size)).preprocessing.input_size == (16, 16)


def test_a_network_of_timm_keeps_its_own_preprocessing() -> None:
    named = load_backbone("random-init:test_vit").preprocessing
    assert built(timm.create_model("test_vit")).preprocessing == named
    assert built(nn.Sequential(timm.create_model("test_vit"))).preprocessing == named
    assert built(nn.DataParallel(timm.create_model("test_vit"))).preprocessing == named
    assert named.input_size == (160, 160) and named.resize == 168 and named.mean == (0.5, 0.5, 0.5)


def test_attributes_go_before_timms_configuration() -> None:
    network = timm.create_model("test_resnet")
    network.input_size, network.mean = 64, (0.1, 0.2, 0.3)
    got = built(network).preprocessing
    assert (got.input_size, got.resize, got.mean, got.std) == ((64, 64), 64, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5))


def test_a_transformer_that_was_built_for_another_size() -> None:
    backbone = built(timm.create_model("test_vit", img_size=96))
    assert backbone.preprocessing.input_size == (96, 96)
    assert backbone.embed(torch.zeros(1, 3, 96, 96)).shape == (1, 64)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_weights_of_another_type_run_in_float32(kind: str) -> None:
    network = small().to(getattr(torch, kind))
    expected = [value.float() for value in network.state_dict().values()]
    backbone = built(network)
    assert backbone.details["weights"] == f"{kind}, run in float32"
    assert all(torch.equal(a, b) for a, b in zip(backbone.network.module.state_dict().values(), expected, strict=True))
    assert backbone.embed(torch.zeros(2, 3, 16, 16)).dtype == torch.float32


def test_a_network_that_insists_on_half_precision_is_refused() -> None:
    class Half(nn.Module):
        input_size = 16

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.conv(images.half())

    with pytest.raises(
        BackboneError, match=r"its weights are float16, and in float32 it does not run .*network\.float\(\)"
    ):
        built(Half().half())


def test_weights_without_values_are_refused() -> None:
    with pytest.raises(BackboneError, match=r"net: weight is not initialised yet.*run the network once"):
        built(nn.LazyConv2d(4, 3))
    with torch.device("meta"):
        network = nn.Conv2d(3, 4, 3)
    with pytest.raises(BackboneError, match="net: weight is on the meta device"):
        built(network)


def test_a_scripted_network_runs() -> None:
    network = torch.jit.script(torchvision.models.resnet18(num_classes=7))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        backbone = built(independent_copy(network, "net"), size="32")
        got = backbone.embed(torch.ones(2, 3, 32, 32))
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
        torch.testing.assert_close(got, network.eval()(torch.ones(2, 3, 32, 32)), rtol=1e-4, atol=1e-5)
    # A classifier in code that is fixed cannot be looked for.
    assert "scripted" in backbone.details["last_layer"]
    assert backbone.digest == backbone.digest


def weight_normed() -> nn.Module:
    return nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_a_network_with_computed_weights_is_copied() -> None:
    network = weight_normed()
    copied = independent_copy(network, "net")
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(copied(images), network(images))
    with torch.no_grad():
        copied[0].weight_g.mul_(2)
    assert not torch.allclose(copied(images), network(images))
    assert network[0].weight.requires_grad


def test_computed_tensors_in_lists_are_copied() -> None:
    network = small()
    network.kept = [network[0].weight * 2]
    copied = independent_copy(network, "net")
    assert torch.equal(copied.kept[0], network.kept[0])
    assert copied.kept[0] is not network.kept[0]


def test_what_cannot_be_copied_says_what_to_do(tmp_path: Path) -> None:
    network = small(lock=threading.Lock())
    with pytest.raises(
        BackboneError, match=r"Sequential: the network cannot be copied \(TypeError: .*lock.*register_backbone"
    ):
        sslbench.extract(network, "digits", settings=sslbench.Settings(cache_dir=tmp_path, device="cpu"))


def test_a_copy_runs_its_own_weights_whatever_was_put_on_the_network() -> None:
    network = small()
    inner = network[0]
    network.forward = lambda images: inner(images).mean(dim=(2, 3)) + network[0].bias
    inner.register_forward_hook(lambda module, given, output: output * network[0].weight.mean())
    copied = independent_copy(network, "net")
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(copied.forward(images), network.forward(images))
    with torch.no_grad():
        network[0].weight.zero_()
        assert float(copied.forward(images).abs().max()) > 0
        assert float((network.forward(images) - network[0].bias).abs().max()) == 0


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("kind", ["half", "weight norm", "wrapped", "grey"])
def test_the_callers_network_stays_what_it_was(kind: str, tmp_path: Path) -> None:
    make = {
        "half": lambda: torchvision.models.resnet18(num_classes=5).half(),
        "weight norm": weight_normed,
        "wrapped": lambda: nn.DataParallel(torchvision.models.resnet18(num_classes=5)),
        "grey": lambda: nn.Sequential(torchvision.transforms.Normalize((0.5,) * 3, (0.5,) * 3), small()),
    }
    network = make[kind]().train()
    network.input_size = 16
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modules = [type(part) for part in network.modules()]
    x, _ = sslbench.extract(network, "digits", "val", settings=sslbench.Settings(cache_dir=tmp_path, device="cpu"))
    assert x.shape[1] == (512 if kind in ("half", "wrapped") else 4)
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    assert [type(part) for part in network.modules()] == modules
    for name, value in network.state_dict().items():
        assert value.dtype == before[name].dtype and torch.equal(value, before[name]), name


@pytest.fixture
def registered(registries: Registries) -> None:
    register_backbone("mine", small)


def test_statistics_as_options_of_a_name(registered: None) -> None:
    got = load_backbone("mine?mean=0.1|0.2|0.3&std=0.5&bgr").preprocessing
    assert (got.mean, got.std, got.bgr) == ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5), True)
    assert load_backbone("mine?bgr=true").preprocessing.bgr
    assert not load_backbone("mine?bgr=false").preprocessing.bgr
    assert load_backbone("mine?preprocessing=paper&mean=0.25").preprocessing.mean == (0.25,) * 3


@pytest.mark.parametrize("name", ["random-init", "random-init:test_vit", "zoo:mae", "random-init:zoo:mae"])
def test_names_whose_statistics_are_known_take_others(name: str) -> None:
    got = load_backbone(f"{name}?mean=0.1&std=0.2&bgr").preprocessing
    assert (got.mean, got.std, got.bgr) == ((0.1,) * 3, (0.2,) * 3, True)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("mean=1|2", r"option mean takes one number, or three separated by \|"), ("std=wide", "option std takes one number"),
        ("mean=123", "mean 123 cannot be meant"), ("std=0", "std 0 cannot be meant"), ("bgr=yes", "bgr takes true or false"),
    ],
)  # fmt: skip
def test_options_that_are_no_statistics_are_refused(option: str, message: str, registered: None) -> None:
    with pytest.raises(BackboneError, match=message):
        load_backbone(f"mine?{option}")
