"""Which network of a file: named, the only one, or an error that lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from sslbench.backbones import load_backbone
from sslbench.backbones.containers import choose, state_dicts
from sslbench.errors import BackboneError

State = dict[str, Tensor]
ARCH = "test_vit"


@pytest.fixture(scope="module")
def weights() -> State:
    return dict(timm.create_model(ARCH, num_classes=0).state_dict())


def moved(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def zeros(state: State) -> State:
    return {name: tensor * 0 for name, tensor in state.items()}


def layouts(state: State) -> dict[str, tuple[Any, str, str]]:
    """What trainers write: content, the key that leads to the network, its prefix."""
    nested, other = moved(state, "backbone."), moved(zeros(state), "module.backbone.")
    optimiser = {"state": {0: {"exp_avg": torch.ones(3)}, 1: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    return {
        "DINO": (
            {"student": other, "teacher": nested, "optimizer": optimiser, "dino_loss": {"center": torch.ones(1, 9)}, "epoch": 1},
            "teacher", "backbone.",
        ),
        "timm": ({"state_dict": zeros(state), "state_dict_ema": state, "epoch": 3}, "state_dict_ema", ""),
        "DeiT": ({"model": zeros(state), "model_ema": state, "optimizer": optimiser}, "model_ema", ""),
        "average of parameters alone": ({"state_dict": state, "ema": dict(list(zeros(state).items())[3:])}, "state_dict", ""),
        "beside the file's own": ({**state, "ema": zeros(state)}, ".", ""),
        "two of equal rank": ({"nets": [zeros(state), state]}, "nets.1", ""),
        "a key with dots": ({"net.old": zeros(state), "net.new": state}, "net.new", ""),
    }  # fmt: skip


SINGLE = {
    "DINOv2": lambda state: ({"teacher": moved(state, "backbone.")}, "backbone."),
    "MAE": lambda state: ({"model": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "epoch": 3}, ""),
    "MoCo": lambda state: ({"state_dict": moved(state, "module.encoder_q."), "queue": torch.ones(3)}, "module.encoder_q."),
    "VISSL": lambda state: (
        {"classy_state_dict": {"base_model": {"model": {"trunk": moved(state, "_feature_blocks."), "heads": {}}}}},
        "_feature_blocks.",
    ),
    "SimCLR converted": lambda state: ({"resnet": state, "head": {"0.weight": torch.ones(2)}}, ""),
    "net": lambda state: ({"net": state, "acc": 3.0}, ""),
    "module": lambda state: ({"module": moved(state, "module.")}, "module."),
    "model_state_dict": lambda state: ({"model_state_dict": state, "loss": torch.tensor(3.0)}, ""),
    "a named optimiser": lambda state: (
        {"model": state, "optimizer": {"state": {name: {"exp_avg": tensor} for name, tensor in state.items()}}}, "",
    ),
    "flat": lambda state: (state, ""),
}  # fmt: skip


def loaded(content: Any, folder: Path, options: str) -> State:
    torch.save(content, folder / "w.pth")
    backbone = load_backbone(f"file:{folder}/w.pth?arch={ARCH}{options}")
    return dict(backbone.network.module.state_dict())


def assert_same(got: State, expected: State) -> None:
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("kind", SINGLE)
def test_the_only_network_is_taken(kind: str, weights: State, tmp_path: Path) -> None:
    content, prefix = SINGLE[kind](weights)
    assert_same(loaded(content, tmp_path, f"&prefix={prefix}"), weights)


@pytest.mark.parametrize("kind", layouts({}))
def test_one_of_several_is_named(kind: str, weights: State, tmp_path: Path) -> None:
    content, key, prefix = layouts(weights)[kind]
    with pytest.raises(
        BackboneError, match=r"w\.pth: it holds 2 state dicts, .*say which one is meant, such as &key="
    ) as raised:
        loaded(content, tmp_path, f"&prefix={prefix}")
    assert f"{key} ({len(weights)} tensors)" in str(raised.value) or key == "."
    assert_same(loaded(content, tmp_path, f"&key={key}&prefix={prefix}&drop=ema"), weights)


def test_the_record_names_it(weights: State, tmp_path: Path) -> None:
    torch.save({"teacher": weights}, tmp_path / "w.pth")
    assert load_backbone(f"file:{tmp_path}/w.pth?arch={ARCH}&key=teacher").details["key"] == "teacher"
    assert "key" not in load_backbone(f"file:{tmp_path}/w.pth?arch={ARCH}").details


def test_a_key_that_is_not_there_lists_those_that_are(weights: State, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=rf"no state dict 'techer'; key= takes teacher \({len(weights)} tensors\)"):
        loaded({"teacher": weights}, tmp_path, "&key=techer")


def test_a_prefix_that_would_fit_is_named(weights: State, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"strip a prefix with prefix=module\.backbone\., leave"):
        loaded(moved(weights, "module.backbone."), tmp_path, "")


def test_content_that_refers_to_itself_is_walked_once() -> None:
    content: dict[str, Any] = {"a": {"w": torch.ones(2)}}
    content["self"] = content
    assert list(dict(state_dicts(content))) == ["a"]


@pytest.mark.parametrize("content", [3, [1, 2], {"a": 1}, {}, {"optimizer": {0: {"w": torch.ones(2)}}}])
def test_content_without_tensors(content: Any, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="expected a state dict"):
        choose(content, tmp_path)
