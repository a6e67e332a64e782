"""Names of backbones: registration, entry points, globs and helpful errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from sslbench.backbones import CONTROLS, expand_backbones, list_backbones, load_backbone, register_backbone
from sslbench.backbones.checkpoints import CHECKPOINTS
from sslbench.backbones.options import parse_name
from sslbench.backbones.sources import registered
from sslbench.backbones.sources.wheel import WHEELS
from sslbench.backbones.zoo import zoo_names
from sslbench.errors import BackboneError, UnknownNameError
from tests.conftest import Registries


class Mean(nn.Module):
    input_size = 8

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


@pytest.fixture(autouse=True)
def names(registries: Registries) -> Iterator[None]:
    registered._installed.cache_clear()
    yield
    registered._installed.cache_clear()


def test_register_as_a_function() -> None:
    assert register_backbone("mine", Mean) is Mean
    backbone = load_backbone("mine?size=16")
    assert backbone.name == "mine?size=16"
    assert backbone.preprocessing.input_size == (16, 16)
    assert backbone.embed(torch.ones(2, 3, 16, 16)).tolist() == [[1.0] * 3] * 2
    assert list_backbones() == [*CONTROLS, *zoo_names(), *CHECKPOINTS, "mine", *WHEELS]


def test_register_as_a_decorator_and_build_on_first_use_only() -> None:
    built = []

    @register_backbone("lazy")
    def factory() -> nn.Module:
        built.append(1)
        return Mean()

    assert expand_backbones(["lazy"]) == ["lazy"]
    assert list_backbones("la*") == ["lazy"]
    assert built == []
    load_backbone("lazy")
    assert built == [1]
    assert isinstance(factory(), Mean)


def test_a_taken_name_is_refused_and_the_same_factory_is_not() -> None:
    register_backbone("mine", Mean)
    register_backbone("mine", Mean)
    with pytest.raises(BackboneError, match="'mine' is already registered"):
        register_backbone("mine", lambda: Mean())
    with pytest.raises(BackboneError, match="'pixels' is already registered"):
        register_backbone("pixels", Mean)


def test_entry_points_are_discovered_and_loaded_on_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    class Point:
        name = "from-a-package"

        def load(self) -> Any:
            loaded.append(self.name)
            return Mean

    groups = []

    def entry_points(*, group: str) -> list[Point]:
        groups.append(group)
        return [Point()]

    monkeypatch.setattr(registered, "entry_points", entry_points)
    assert "from-a-package" in list_backbones()
    assert groups == ["sslbench.backbones"]
    assert loaded == []
    backbone = load_backbone("from-a-package")
    assert loaded == ["from-a-package"]
    assert backbone.embed(torch.ones(1, 3, 8, 8)).shape == (1, 3)


def test_expand_keeps_the_order_and_drops_repeats() -> None:
    register_backbone("mine", Mean)
    names = expand_backbones(["pixels", "mine", "*-[hi]*", "pixels"])
    assert names == ["pixels", "mine", "random-init", "colour-histogram"]


def test_open_families_pass_without_import() -> None:
    names = [
        "hub:a/b:c", "file:/x*/[y].pth?arch=resnet50", "python:absent:make", "random-init:resnet18?seed=3",
        "random-init?seed=2", "resnet18.a1_in1k?pooling=avg",
    ]  # fmt: skip
    assert expand_backbones(names) == names


def test_globs_reach_timm_only_when_nothing_else_matches() -> None:
    register_backbone("resnet-mine", Mean)
    assert expand_backbones(["resnet*"]) == ["resnet-mine"]
    found = expand_backbones(["resnet50.a*_in1k"])
    assert "resnet50.a1_in1k" in found
    assert all(name.startswith("resnet50.a") for name in found)


@pytest.mark.parametrize("act", [load_backbone, lambda name: expand_backbones([name])])
@pytest.mark.parametrize(
    ("name", "near"), [("resnet5o", "resnet50"), ("random-int", "random-init"), ("pixel", "pixels")]
)
def test_an_unknown_name_lists_the_nearest(name: str, near: str, act: Any) -> None:
    with pytest.raises(UnknownNameError, match=rf"unknown backbone '{name}'; nearest: .*{near}"):
        act(name)


def test_a_glob_that_matches_nothing() -> None:
    with pytest.raises(UnknownNameError, match=r"the glob 'nothing\*' matches no backbone; known: random-init, pixels"):
        expand_backbones(["nothing*"])


def test_an_unknown_architecture_of_random_init() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown timm architecture 'resnet5o'; nearest:.*resnet50"):
        load_backbone("random-init:resnet5o")


def test_options_are_parsed() -> None:
    bare, options = parse_name("file:/a=b?arch=x&drop=a.*,b=c&prefix=")
    assert bare == "file:/a=b"
    assert options.values == {"arch": "x", "drop": "a.*,b=c", "prefix": ""}
    with pytest.raises(BackboneError, match=r"expected NAME\?key=value&key=value, got 'pooling'"):
        parse_name("resnet50?pooling")


def test_what_a_record_says() -> None:
    backbone = load_backbone("random-init:resnet10t?size=64&pooling=avg")
    told = backbone.to_json()
    assert told["name"] == "random-init:resnet10t?size=64&pooling=avg"
    assert told["digest"] == backbone.digest
    assert told["pooling"] == "avg"
    assert told["params"] == sum(p.numel() for p in backbone.network.module.parameters())
    assert told["preprocessing"]["input_size"] == [64, 64]


def test_listing_imports_no_torch() -> None:
    code = "import sys, sslbench.backbones as b; b.list_backbones(); print({'torch', 'timm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["zoo:mine", "random-init:mine"])
def test_a_name_that_no_factory_would_be_asked_for_is_refused(name: str) -> None:
    with pytest.raises(BackboneError, match=rf"'{name}': names that begin with zoo: or random-init: are sslbench's"):
        register_backbone(name, Mean)
    assert name not in list_backbones()


def test_a_backbone_named_zoo_is_not_the_zoo() -> None:
    with pytest.raises(UnknownNameError, match="unknown backbone 'zoo'"):
        expand_backbones(["zoo"])
    register_backbone("zoo", Mean)
    assert expand_backbones(["zoo"]) == ["zoo"]
    assert load_backbone("zoo").embed(torch.ones(1, 3, 8, 8)).shape == (1, 3)


def test_the_initial_weights_of_an_unknown_backbone_of_the_zoo_are_refused_when_names_expand() -> None:
    assert expand_backbones(["random-init:zoo:mae?seed=1"]) == ["random-init:zoo:mae?seed=1"]
    with pytest.raises(UnknownNameError, match=r"unknown zoo backbone 'zoo:mea'; nearest: zoo:mae"):
        expand_backbones(["random-init:zoo:mea?seed=1"])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("facebook/dinov2-small", "vit_small_patch14_dinov2.lvd142m"),
        ("facebook/dino-vits16", "vit_small_patch16_224.dino"),
        ("facebook/dinov3-vitb16-pretrain-lvd1689m", "vit_base_patch16_dinov3.lvd1689m"),
        ("facebook/vit-mae-base", "vit_base_patch16_224.mae"),
        ("facebook/convnext-tiny-224", "convnext_tiny"),
        ("microsoft/resnet-50", "resnet50"),
        ("openai/clip-vit-base-patch32", "vit_base_patch32_clip_224.openai"),
    ],
)
def test_an_id_of_another_library_is_answered_with_timms_name(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError) as info:
        expand_backbones([name])
    assert (
        f"unknown backbone '{name}': networks of Hugging Face's transformers are not loaded; nearest in timm: {near}"
        in str(info.value)
    )
    assert "hf-hub:OWNER/NAME" in str(info.value)
    assert "hub:facebookresearch/dinov2:dinov2_vits14" in str(info.value)


@pytest.mark.parametrize("path", ["./net.pth", "/runs/1/net.pth", "runs/net.safetensors", "~/net", "../a/b.pt"])
def test_a_path_is_answered_with_its_form(path: str) -> None:
    with pytest.raises(
        UnknownNameError, match=rf"unknown backbone '{path}'; a checkpoint file is file:{path}\?arch=ARCH"
    ):
        expand_backbones([path])


def test_an_id_that_nothing_in_timm_is_like() -> None:
    with pytest.raises(UnknownNameError, match="timm has nothing like it"):
        expand_backbones(["someone/cats"])


def test_a_repository_of_hugging_face_is_a_name_of_its_own() -> None:
    assert expand_backbones(["hf-hub:timm/resnet50.a1_in1k"]) == ["hf-hub:timm/resnet50.a1_in1k"]
