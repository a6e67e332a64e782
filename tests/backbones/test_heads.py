"""Classifiers come off wherever they are, or somebody is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from sslbench.backbones import Backbone
from sslbench.backbones.module_source import wrap
from sslbench.backbones.options import Options
from sslbench.errors import BackboneError

CLASSES = 77


def built(network: nn.Module, size: int = 64, **options: str) -> Backbone:
    network.input_size = size
    return wrap("net", network, Options("net", options), recipe="test")


def read_by(network: nn.Module, layer: str, size: int = 64) -> tuple[Tensor, Tensor]:
    """Two pictures, and what a layer reads when they are given to the network, flattened."""
    images, inputs = torch.rand(2, 3, size, size), []
    handle = network.get_submodule(layer).register_forward_pre_hook(lambda _module, given: inputs.append(given[0]))
    with torch.no_grad():
        network.eval()(images)
    handle.remove()
    return images, inputs[0].flatten(1)


@pytest.mark.parametrize(
    ("arch", "layer", "width"),
    [
        ("resnet18", "fc", 512), ("alexnet", "classifier.6", 4096), ("densenet121", "classifier", 1024),
        ("mobilenet_v2", "classifier.1", 1280), ("mobilenet_v3_small", "classifier.3", 1024),
        ("convnext_tiny", "classifier.2", 768), ("swin_t", "head", 768), ("shufflenet_v2_x0_5", "fc", 1024),
    ],
)  # fmt: skip
def test_torchvisions_networks_give_what_their_last_layer_reads(arch: str, layer: str, width: int) -> None:
    network = torchvision.models.get_model(arch, weights=None, num_classes=CLASSES)
    images, expected = read_by(network, layer)
    backbone = built(network)
    assert backbone.details["removed_head"] == layer
    got = backbone.embed(images)
    assert got.shape == (2, width)
    torch.testing.assert_close(got, expected)


def test_a_vision_transformer_of_torchvision() -> None:
    network = torchvision.models.VisionTransformer(32, 16, 1, 2, 24, 24, num_classes=CLASSES)
    images, expected = read_by(network, "heads.head", 32)
    # Its own size, without being told.
    backbone = wrap("net", network, Options("net", {}), recipe="test")
    assert (backbone.details["removed_head"], backbone.preprocessing.input_size) == ("heads.head", (32, 32))
    torch.testing.assert_close(backbone.embed(images), expected)


def test_a_convolution_that_classifies_before_it_pools() -> None:
    network = torchvision.models.squeezenet1_1(num_classes=CLASSES)
    backbone = built(network)
    assert backbone.details["removed_head"] == "classifier.1"
    assert backbone.embed(torch.rand(2, 3, 64, 64)).shape == (2, 512)


class Net(nn.Module):
    """A convolution, pooled, with a classifier; `after` works on its scores."""

    def __init__(self, after: Callable[[Tensor], Any] | None = None, name: str = "fc") -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3)
        self.name = name
        self.after = after
        setattr(self, name, nn.Linear(8, CLASSES))

    def forward(self, images: Tensor) -> Any:
        output = getattr(self, self.name)(self.body(images).mean(dim=(2, 3)))
        return self.after(output) if self.after else output


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.backbone = inner

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(images)


WRAPPED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "bare": (Net, "fc"),
    "last_linear": (lambda: Net(name="last_linear"), "last_linear"),
    "DataParallel": (lambda: nn.DataParallel(Net()), "fc"),
    "compiled": (lambda: torch.compile(Net()), "fc"),
    "averaged": (lambda: torch.optim.swa_utils.AveragedModel(Net()), "fc"),
    "in a module": (lambda: Around(Net()), "backbone.fc"),
    "twice in a module": (lambda: Around(Around(Net())), "backbone.backbone.fc"),
    "in a sequence": (lambda: nn.Sequential(nn.Identity(), Net()), "1.fc"),
    "before a softmax layer": (lambda: nn.Sequential(Net(), nn.Softmax(1)), "0.fc"),
    "before a scale": (lambda: Net(lambda scores: scores * 3), "fc"),
    "scripted by fx": (lambda: torch.fx.symbolic_trace(Net()), "fc"),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrappers_do_not_hide_it(kind: str) -> None:
    make, layer = WRAPPED[kind]
    backbone = built(make(), 16)
    assert backbone.details["removed_head"] == layer
    assert backbone.preprocessing.input_size == (16, 16)
    assert backbone.embed(torch.rand(2, 3, 16, 16)).shape == (2, 8)


@pytest.mark.parametrize(
    "after",
    [
        lambda scores: scores.softmax(1), lambda scores: (scores / 9).softmax(1), lambda scores: scores.log_softmax(1),
        torch.sigmoid,
    ],
)  # fmt: skip
def test_scores_that_cannot_be_separated_are_refused(after: Callable[[Tensor], Tensor]) -> None:
    network = Net(after)
    with pytest.raises(BackboneError, match=r"net: fc gives class scores .* set fc to nn\.Identity\(\)"):
        built(network, 16)
    assert isinstance(network.fc, nn.Linear)


def test_a_hidden_layer_with_a_classifiers_name_stays() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.out = nn.Linear(3, 5), nn.Linear(5, 7)

        def forward(self, images: Tensor) -> Tensor:
            return self.out(self.fc(images.mean(dim=(2, 3))).relu())

    backbone = built(Hidden(), 8)
    assert backbone.details["removed_head"] == ""
    assert backbone.details["last_layer"] == "out (Linear, 5 to 7) gives the output and stays"
    assert backbone.embed(torch.rand(2, 3, 8, 8)).shape == (2, 7)


def test_a_projection_that_is_normalised_is_taken_off_as_before() -> None:
    backbone = built(Net(nn.functional.normalize), 16)
    assert backbone.details["removed_head"] == "fc"
    got = backbone.embed(torch.rand(2, 3, 16, 16))
    torch.testing.assert_close(got.norm(dim=1), torch.ones(2))


def test_a_mean_of_two_heads() -> None:
    class Distilled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.head_dist = nn.Linear(3, CLASSES), nn.Linear(3, CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            return (self.head(images.mean(dim=(2, 3))) + self.head_dist(images.amax(dim=(2, 3)))) / 2

    backbone = built(Distilled(), 8)
    assert backbone.details["removed_head"] == "head, head_dist"
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(backbone.embed(images), (images.mean(dim=(2, 3)) + images.amax(dim=(2, 3))) / 2)


class Cosine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(CLASSES, 8))

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.normalize(features) @ nn.functional.normalize(self.centres).t()


class Pooling(Cosine):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.mean(dim=(2, 3)))


class WithHead(nn.Module):
    def __init__(self, head: nn.Module, pooled: bool) -> None:
        super().__init__()
        self.body, self.head, self.pooled = nn.Conv2d(3, 8, 3), head, pooled

    def forward(self, images: Tensor) -> Tensor:
        output = self.body(images)
        return self.head(output.mean(dim=(2, 3)) if self.pooled else output)


def test_heads_of_their_own_classes() -> None:
    backbone = built(WithHead(Cosine(), pooled=True), 16)
    assert backbone.details["removed_head"] == "head"
    assert backbone.embed(torch.rand(2, 3, 16, 16)).shape == (2, 8)
    told = built(WithHead(Pooling(), pooled=False), 16).details
    assert told["last_layer"] == "head (Pooling) gives the output and could not be taken off"


def test_a_quantised_classifier_comes_off() -> None:
    network = torch.ao.quantization.quantize_dynamic(Net(), {nn.Linear}, dtype=torch.qint8)
    backbone = built(network, 16)
    assert backbone.details["removed_head"] == "fc"
    assert backbone.digest == backbone.digest


@pytest.mark.parametrize("arch", ["test_vit", "test_vit3", "test_resnet", "test_convnext", "test_byobnet"])
def test_a_network_of_timm_is_what_timm_builds_by_name(arch: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        given = timm.create_model(arch, num_classes=CLASSES)
    named = timm.create_model(arch, num_classes=0)
    named.load_state_dict({name: value for name, value in given.state_dict().items() if name in named.state_dict()})
    backbone = wrap("net", given, Options("net", {}), recipe="test")
    head = named.pretrained_cfg["classifier"]
    assert backbone.details["removed_head"] == head
    assert not any(name.startswith(f"{head}.") for name in backbone.network.module.state_dict())
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        expected = named.eval()(images)
    torch.testing.assert_close(backbone.embed(images), expected)
    assert wrap("net", named, Options("net", {}), recipe="test").details["removed_head"] == ""


def test_poolings_of_timm_work_on_a_module() -> None:
    backbone = wrap("net", timm.create_model("test_vit"), Options("net", {"pooling": "last-2"}), recipe="test")
    assert backbone.embed(torch.rand(2, 3, 160, 160)).shape == (2, 128)


def test_a_network_of_timm_whose_forward_was_replaced_is_run_by_it() -> None:
    network = timm.create_model("test_vit", num_classes=0)
    network.forward = lambda images: network.forward_features(images)[:, 1:].mean(1)
    backbone = wrap("net", network, Options("net", {}), recipe="test")
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        torch.testing.assert_close(backbone.embed(images), network.forward_features(images)[:, 1:].mean(1))


@pytest.mark.parametrize(("output", "told"), [({"logits": 1}, "got dict with logits"), ((1, 2), "got tuple")])
def test_another_output_is_refused_before_anything_is_extracted(output: Any, told: str) -> None:
    with pytest.raises(BackboneError, match=f"net: expected a tensor from Net, {told}; wrap it in a module"):
        built(Net(lambda _scores: output), 16)
