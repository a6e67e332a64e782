"""SimCLR: TensorFlow's numbering, and the two layouts of converted torch files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sslbench.backbones.checkpoints import checkpoint_spec
from sslbench.errors import BackboneError

State = dict[str, Tensor]
Same = Callable[[State, State], None]

# The number of a group's first layer, its projection shortcut; the rest of a block follows in order.
STARTS = {1: 1, 2: 11, 3: 24, 4: 43}
BLOCKS = {1: 3, 2: 4, 3: 6, 4: 3}


def numbered() -> dict[int, tuple[str, str]]:
    """Convolution and BatchNorm by TensorFlow's number, by the table of the format."""
    table = {0: ("conv1", "bn1")}
    for group, number in STARTS.items():
        table[number] = (f"layer{group}.0.downsample.0", f"layer{group}.0.downsample.1")
        for block in range(BLOCKS[group]):
            for part in (1, 2, 3):
                number += 1
                table[number] = (f"layer{group}.{block}.conv{part}", f"layer{group}.{block}.bn{part}")
    assert sorted(table) == list(range(53))
    return table


def variables(state: State) -> dict[str, np.ndarray]:
    """What TensorFlow would store for a network in torch's layout."""
    found = {}
    for number, (convolution, norm) in numbered().items():
        suffix = f"_{number}" if number else ""
        kernel = state[f"{convolution}.weight"].numpy()
        found[f"base_model/conv2d{suffix}/kernel"] = np.ascontiguousarray(
            np.moveaxis(kernel, [2, 3, 1, 0], [0, 1, 2, 3])
        )
        for variable, name in (
            *(("gamma", "weight"), ("beta", "bias")),
            *(("moving_mean", "running_mean"), ("moving_variance", "running_var")),
        ):
            found[f"base_model/batch_normalization{suffix}/{variable}"] = state[f"{norm}.{name}"].numpy()
    return found


HEAD = {
    "head_supervised/linear_layer/dense/kernel": np.ones((6, 10), np.float32),
    "head_supervised/linear_layer/dense/bias": np.ones(10, np.float32),
    "global_step": np.int64(225206),
}


def contrastive(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What version 2 has beside version 1."""
    extra = {f"head_contrastive/nl_{n}/dense/kernel": np.ones((6, 6), np.float32) for n in range(3)}
    extra["head_contrastive/nl_2/batch_normalization/gamma"] = np.ones(6, np.float32)
    extra |= {f"{name}/Momentum": values + 1 for name, values in found.items() if "moving" not in name}
    # As near to the wanted values as can be: nobody may take one for the other.
    return extra | {f"ema_model/{name}": values + 2 for name, values in found.items()}


def test_version_1_in_its_zip(state: State, same: Same, bundle: Any, counters: Any, tmp_path: Path) -> None:
    bundle(tmp_path / "ResNet50_1x" / "model.ckpt-225206", {**variables(state), **HEAD})
    bundle(tmp_path / "ResNet50_1x" / "hub" / "variables" / "variables", variables(state))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in tmp_path.rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    for given in ("a.zip", "ResNet50_1x", "ResNet50_1x/model.ckpt-225206", "ResNet50_1x/model.ckpt-225206.index"):
        weights = checkpoint_spec("simclr-v1").read(tmp_path / given)
        same(weights.tensors, counters[1](state))
        assert set(weights.dropped) == set(HEAD)


@pytest.mark.parametrize(("shards", "per_block"), [(1, 10**6), (3, 50)])
def test_version_2_with_everything_it_was_trained_with(
    state: State, same: Same, bundle: Any, counters: Any, tmp_path: Path, shards: int, per_block: int
) -> None:
    backbone = variables(state)
    extra = {**HEAD, **contrastive(backbone)}
    bundle(tmp_path / "model.ckpt-250228", {**backbone, **extra}, shards=shards, per_block=per_block)
    weights = checkpoint_spec("simclr-v2").read(tmp_path)
    same(weights.tensors, counters[1](state))
    assert set(weights.dropped) == set(extra)


def test_what_a_bundle_has_too_much_or_too_little_is_named(state: State, bundle: Any, tmp_path: Path) -> None:
    found = variables(state)
    # A selective-kernel network has more layers.
    found["base_model/conv2d_53/kernel"] = np.ones((1, 1, 2, 2), np.float32)
    del found["base_model/batch_normalization_52/gamma"]
    bundle(tmp_path / "p", found)
    message = "1 left over: base_model/conv2d_53/kernel; 1 missing: layer4.2.bn3.weight"
    with pytest.raises(BackboneError, match=message):
        checkpoint_spec("simclr-v2").read(tmp_path / "p")


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("name", ["simclr-v1", "simclr-v2"])
def test_the_converted_file_with_torchvisions_names(
    name: str, legacy: bool, state: State, same: Same, tmp_path: Path
) -> None:
    head = {"fc.weight": torch.rand(10, 6), "fc.bias": torch.rand(10)}
    torch.save({"state_dict": {**state, **head}}, tmp_path / "f.pth", _use_new_zipfile_serialization=not legacy)
    weights = checkpoint_spec(name).read(tmp_path / "f.pth")
    same(weights.tensors, state)
    assert weights.dropped == ("fc.bias", "fc.weight")


def nested(name: str) -> str:
    """The converter's name of a tensor, by the table of the format."""
    parts = name.split(".")
    if parts[0] == "conv1":
        return "net.0.0.weight"
    if parts[0] == "bn1":
        return f"net.0.1.0.{parts[1]}"
    start = f"net.{parts[0][-1]}.blocks.{parts[1]}"
    if parts[2] == "downsample":
        return f"{start}.projection.{'shortcut' if parts[3] == '0' else 'bn.0'}.{parts[4]}"
    part = int(parts[2][-1])
    return f"{start}.net.{2 * (part - 1) if parts[2].startswith('conv') else f'{2 * part - 1}.0'}.{parts[3]}"


@pytest.mark.parametrize("counted", [True, False])
def test_the_converted_file_with_nested_names(
    counted: bool, state: State, same: Same, counters: Any, tmp_path: Path
) -> None:
    without, zeros = counters
    given = state if counted else without(state)
    content = {nested(name): tensor for name, tensor in given.items()}
    assert len(content) == (318 if counted else 265)
    assert {"net.1.blocks.0.projection.shortcut.weight", "net.4.blocks.2.net.5.0.bias"} <= content.keys()
    content |= {"fc.weight": torch.rand(10, 6), "fc.bias": torch.rand(10)}
    torch.save({"resnet": content, "head": {"layers.0.weight": torch.rand(6, 6)}}, tmp_path / "f.pth")
    weights = checkpoint_spec("simclr-v2").read(tmp_path / "f.pth")
    same(weights.tensors, state if counted else zeros(state))
    assert weights.dropped == ("fc.bias", "fc.weight")
