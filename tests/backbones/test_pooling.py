"""Poolings of timm networks against forward_features by hand, and the strides of their maps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sslbench.backbones import load_backbone
from sslbench.backbones.backbone import Backbone
from sslbench.backbones.module_network import ModuleNetwork
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.errors import BackboneError


def images(size: int = 64) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def parts(arch: str, pooling: str) -> tuple[Tensor, Any]:
    backbone = load_backbone(f"random-init:{arch}?size=64&pooling={pooling}")
    assert backbone.pooling == pooling
    return backbone.embed(images()), backbone.network.module


@torch.no_grad()
def test_model_pooling_is_the_models_own() -> None:
    for arch in ("test_resnet", "test_vit", "test_vit3"):
        got, module = parts(arch, "model")
        torch.testing.assert_close(got, module(images()))


@torch.no_grad()
def test_avg_of_a_convolutional_network_is_the_spatial_mean() -> None:
    got, module = parts("test_resnet", "avg")
    torch.testing.assert_close(got, module.forward_features(images()).mean(dim=(2, 3)))


@torch.no_grad()
def test_avg_of_a_network_with_channels_last_maps() -> None:
    got, module = parts("swin_tiny_patch4_window7_224", "avg")
    features = module.forward_features(images())
    assert features.shape[-1] == module.num_features
    torch.testing.assert_close(got, features.mean(dim=(1, 2)))


@torch.no_grad()
@pytest.mark.parametrize("arch", ["test_vit", "test_vit3"])
@pytest.mark.parametrize("pooling", ["avg", "patch-mean"])
def test_patch_mean_leaves_the_prefix_out(arch: str, pooling: str) -> None:
    got, module = parts(arch, pooling)
    tokens = module.forward_features(images())
    patches = 16  # 64 pixels in patches of 16
    assert tokens.shape[1] == patches + module.num_prefix_tokens > patches
    torch.testing.assert_close(got, tokens[:, -patches:].mean(dim=1))


@torch.no_grad()
def test_class_token_poolings() -> None:
    got, module = parts("test_vit", "cls")
    tokens = module.forward_features(images())
    torch.testing.assert_close(got, tokens[:, 0])
    both, _ = parts("test_vit", "cls+patch-mean")
    torch.testing.assert_close(both, torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1))


@pytest.mark.parametrize("pooling", ["cls", "cls+patch-mean"])
@pytest.mark.parametrize("arch", ["test_resnet", "test_vit3"])
def test_class_token_poolings_need_a_class_token(arch: str, pooling: str) -> None:
    # test_vit3 has a prefix token, but it is a register.
    with pytest.raises(BackboneError, match="needs a class token"):
        parts(arch, pooling)


@torch.no_grad()
def test_last_blocks_of_a_vit_are_normed_class_tokens() -> None:
    got, module = parts("test_vit", "last-2")
    outputs: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda _m, _i, output: outputs.append(output)) for block in module.blocks]
    final = module.forward_features(images())
    for hook in hooks:
        hook.remove()
    assert len(outputs) == len(module.blocks)
    torch.testing.assert_close(got, torch.cat([module.norm(output)[:, 0] for output in outputs[-2:]], dim=1))
    torch.testing.assert_close(got[:, got.shape[1] // 2 :], final[:, 0])


@torch.no_grad()
def test_last_blocks_without_class_token_are_patch_means() -> None:
    got, module = parts("test_vit3", "last-1")
    outputs: list[Tensor] = []
    module.blocks[-1].register_forward_hook(lambda _m, _i, output: outputs.append(output))
    module.forward_features(images())
    torch.testing.assert_close(got, outputs[0][:, module.num_prefix_tokens :].mean(dim=1))


@torch.no_grad()
def test_last_stages_of_a_convolutional_network_are_spatial_means() -> None:
    got, module = parts("test_resnet", "last-2")
    outputs: list[Tensor] = []
    for stage in (module.layer3, module.layer4):
        stage.register_forward_hook(lambda _m, _i, output: outputs.append(output))
    module.forward_features(images())
    torch.testing.assert_close(got, torch.cat([output.mean(dim=(2, 3)) for output in outputs], dim=1))


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit"])
def test_more_blocks_than_there_are_is_refused(arch: str) -> None:
    with pytest.raises(BackboneError, match=r"last-99 asked for, but .* has \d+ blocks or stages"):
        parts(arch, "last-99")


@pytest.mark.parametrize("pooling", ["max", "last-0", "last-", "last-N", "CLS"])
def test_an_unknown_pooling_is_refused(pooling: str) -> None:
    with pytest.raises(BackboneError, match=r"unknown pooling .*known: model, avg, cls"):
        load_backbone(f"random-init?pooling={pooling}")


@pytest.mark.parametrize("arch", ["test_resnet", "test_efficientnet", "test_convnext", "resnet10t"])
def test_maps_of_convolutional_networks_have_strides_4_to_32(arch: str) -> None:
    maps = load_backbone(f"random-init:{arch}?size=64").feature_maps(images())
    assert [64 // part.shape[2] for part in maps] == [4, 8, 16, 32]
    assert all(part.shape[0] == 2 and part.shape[2] == part.shape[3] for part in maps)


@torch.no_grad()
def test_the_last_map_is_what_the_network_ends_with() -> None:
    backbone = load_backbone("random-init")
    torch.testing.assert_close(backbone.feature_maps(images())[-1], backbone.network.module.forward_features(images()))


def test_maps_of_a_vit_are_four_patch_grids() -> None:
    maps = load_backbone("random-init:test_vit?size=64").feature_maps(images())
    assert [tuple(part.shape) for part in maps] == [(2, 64, 4, 4)] * 4
    assert all(not torch.equal(a, b) for a, b in pairwise(maps))


class Gives(nn.Module):
    """Returns what it was made with, whatever comes."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, images: Tensor) -> Any:
        return self.output


def wrapped(output: Any, pooling: str = "model") -> Backbone:
    return Backbone("mine", ModuleNetwork(Gives(output), pooling), Preprocessing(), "r", pooling)


def test_modules_may_give_features_maps_or_tokens() -> None:
    flat, grid, tokens = torch.rand(2, 5), torch.rand(2, 5, 3, 4), torch.rand(2, 7, 5)
    batch = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(wrapped(flat).embed(batch), flat)
    torch.testing.assert_close(wrapped(grid).embed(batch), grid.mean(dim=(2, 3)))
    torch.testing.assert_close(wrapped(tokens).embed(batch), tokens[:, 0])
    torch.testing.assert_close(wrapped(tokens, "patch-mean").embed(batch), tokens[:, 1:].mean(dim=1))


@pytest.mark.parametrize(
    ("output", "pooling", "message"),
    [
        ((torch.rand(2, 5),), "model", "expected a tensor from Gives, got tuple"),
        (torch.rand(2, 5), "avg", "already gives pooled features"),
        (torch.rand(3, 5), "model", r"expected embeddings \(2, D\), got \(3, 5\)"),
        (torch.rand(2), "model", r"expected embeddings \(2, D\), got \(2,\)"),
        (torch.rand(2, 5, 3, 4), "cls", "needs a class token"),
    ],
)
def test_other_outputs_are_refused(output: Any, pooling: str, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        wrapped(output, pooling).embed(torch.rand(2, 3, 8, 8))


def test_last_n_of_a_module_is_refused() -> None:
    with pytest.raises(BackboneError, match="needs a timm model"):
        wrapped(torch.rand(2, 5), "last-2")


def test_maps_of_a_module_without_stages_are_refused() -> None:
    with pytest.raises(BackboneError, match=r"neither a feature_maps\(images\) method nor layer1\.\.layer4"):
        wrapped(torch.rand(2, 5)).feature_maps(torch.rand(2, 3, 8, 8))
