"""Checkpoints in torch's files: every published layout, written by the recipe of its trainer, comes out exactly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sslbench.backbones.checkpoints import checkpoint_spec
from sslbench.errors import BackboneError

State = dict[str, Tensor]
Same = Callable[[State, State], None]


def linear(name: str, *shape: int) -> State:
    return {f"{name}.weight": torch.rand(shape), f"{name}.bias": torch.rand(shape[0])}


def norm(name: str, size: int) -> State:
    vectors = {f"{name}.{what}": torch.rand(size) for what in ("weight", "bias", "running_mean", "running_var")}
    return {**vectors, f"{name}.num_batches_tracked": torch.tensor(1)}


FC = linear("fc", 8, 6)
MLP = {**linear("fc.0", 6, 6), **linear("fc.2", 8, 6)}
SWAV_HEAD = {
    **linear("projection_head.0", 6, 6),
    **norm("projection_head.1", 6),
    **linear("projection_head.3", 8, 6),
}
JIGSAW_MLP = {**linear("head_jig.fc1.0", 6, 6), **linear("head_jig.fc1.2", 8, 6), **linear("head_jig.fc2", 8, 72)}
MOCO_3_HEAD = {"fc.0.weight": torch.rand(6, 6), **norm("fc.1", 6), "fc.3.weight": torch.rand(8, 6)}

# Container ("" for a flat file), prefix of the backbone, prefix of the heads, the heads.
LAYOUTS: dict[str, tuple[str, str, str, State]] = {
    "insdis": ("model", "module.encoder.", "module.", linear("head.0", 8, 6)),
    "pirl": (
        "model", "module.encoder.", "module.",
        {**linear("head.0", 8, 6), **linear("head_jig.fc1", 8, 6), **linear("head_jig.fc2", 8, 72)},
    ),
    "infomin": (
        "model", "module.encoder.", "module.", {**linear("head.0", 6, 6), **linear("head.2", 8, 6), **JIGSAW_MLP}
    ),
    "moco-v1": ("state_dict", "module.encoder_q.", "module.encoder_q.", FC),
    "moco-v2": ("state_dict", "module.encoder_q.", "module.encoder_q.", MLP),
    "pcl-v1": ("state_dict", "module.encoder_q.", "module.encoder_q.", FC),
    "pcl-v2": ("state_dict", "module.encoder_q.", "module.encoder_q.", MLP),
    "sela-v2": (
        "", "module.", "module.",
        {**SWAV_HEAD, **{f"prototypes.prototypes{n}.weight": torch.rand(3, 8) for n in range(10)}},
    ),
    "deepcluster-v2": (
        "", "module.", "module.",
        {**SWAV_HEAD, **{f"prototypes.prototypes{n}.weight": torch.rand(3, 8) for n in range(3)}},
    ),
    "swav": ("", "module.", "module.", {**SWAV_HEAD, "prototypes.weight": torch.rand(3, 8)}),
    "supervised": ("", "", "", FC),
    "vicreg": ("", "", "", {}),
    "barlowtwins": ("", "", "", {}),
    "dino-resnet50": ("", "", "", {}),
    "moco-v3": ("state_dict", "module.base_encoder.", "module.base_encoder.", MOCO_3_HEAD),
}  # fmt: skip

# What training leaves beside the backbone: in the state dict, and in the file.
BESIDE: dict[str, tuple[State, dict[str, Any]]] = {
    **{
        name: (
            {
                "module.encoder_k.conv1.weight": torch.rand(2), "module.encoder_k.fc.weight": torch.rand(2),
                "module.queue": torch.rand(8, 5), "module.queue_ptr": torch.tensor([3]),
            },
            {"epoch": 200, "arch": "resnet50", "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        )
        for name in ("moco-v1", "moco-v2", "pcl-v1", "pcl-v2")
    },
    **{
        name: (
            {},
            {
                "epoch": 200, "optimizer": {"state": {0: {"momentum_buffer": torch.rand(2)}}},
                "contrast": OrderedDict(memory=torch.rand(5, 8)), "amp": {"loss_scaler0": {"loss_scale": 2.0}},
                "model_ema": OrderedDict({"encoder.conv1.weight": torch.rand(2)}),
            },
        )
        for name in ("insdis", "pirl", "infomin")
    },
    "moco-v3": (
        {
            "module.momentum_encoder.conv1.weight": torch.rand(2), "module.predictor.0.weight": torch.rand(2),
            "module.predictor.1.running_mean": torch.rand(2),
        },
        {"epoch": 1000, "arch": "resnet50", "optimizer": {}, "scaler": {"scale": 65536.0}},
    ),
}  # fmt: skip


def write(name: str, state: State, path: Path, *, beside: bool = False, legacy: bool = True) -> set[str]:
    """A file of that checkpoint; returns the keys that are not the backbone's."""
    container, prefix, head_prefix, heads = LAYOUTS[name]
    extra, rest = BESIDE.get(name, ({}, {})) if beside else ({}, {})
    others = {**{f"{head_prefix}{key}": value for key, value in heads.items()}, **extra}
    tensors = OrderedDict({**{f"{prefix}{key}": value for key, value in state.items()}, **others})
    torch.save({**rest, container: tensors} if container else tensors, path, _use_new_zipfile_serialization=not legacy)
    return set(others)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(("legacy", "beside"), [(True, True), (False, False)])
def test_every_tensor_comes_out(
    name: str, legacy: bool, beside: bool, state: State, same: Same, tmp_path: Path
) -> None:
    others = write(name, state, tmp_path / "f.pth.tar", beside=beside, legacy=legacy)
    weights = checkpoint_spec(name).read(tmp_path / "f.pth.tar")
    assert len(weights.tensors) == 318
    same(weights.tensors, state)
    assert set(weights.dropped) == others


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("metadata", [True, False])
def test_files_without_counters_get_zeros(
    name: str, metadata: bool, state: State, same: Same, counters: Any, tmp_path: Path
) -> None:
    without, zeros = counters
    container, prefix, _, _ = LAYOUTS[name]
    tensors: Any = OrderedDict({f"{prefix}{key}": value for key, value in without(state).items()})
    assert len(tensors) == 265
    if metadata:
        # With it torch's own strict load would refuse the file.
        tensors._metadata = OrderedDict({"": {"version": 2}})
    torch.save({container: tensors} if container else tensors, tmp_path / "f", _use_new_zipfile_serialization=False)
    same(checkpoint_spec(name).read(tmp_path / "f").tensors, zeros(state))


@pytest.mark.parametrize("name", ["swav", "deepcluster-v2", "sela-v2"])
def test_flat_files_may_be_wrapped(name: str, state: State, same: Same, tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "f")
    same(checkpoint_spec(name).read(tmp_path / "f").tensors, state)


@pytest.mark.parametrize("name", ["moco-v1", "insdis"])
def test_wrapped_files_may_be_flat(name: str, state: State, same: Same, tmp_path: Path) -> None:
    torch.save({f"{LAYOUTS[name][1]}{key}": value for key, value in state.items()}, tmp_path / "f")
    same(checkpoint_spec(name).read(tmp_path / "f").tensors, state)


def test_half_precision_is_widened(state: State, same: Same, tmp_path: Path) -> None:
    # Small enough to be exact in half precision.
    small = {key: value % 512 if value.is_floating_point() else value for key, value in state.items()}
    halves = {f"module.{k}": v.half() if v.is_floating_point() else v for k, v in small.items()}
    torch.save(halves, tmp_path / "f")
    same(checkpoint_spec("swav").read(tmp_path / "f").tensors, small)


# One of each layout that its tensors tell from the others.
TELLING = ["infomin", "moco-v1", "moco-v2", "swav", "deepcluster-v2", "supervised", "moco-v3"]


@pytest.mark.parametrize("other", TELLING)
def test_the_file_of_another_checkpoint_is_refused_with_its_keys(other: str, state: State, tmp_path: Path) -> None:
    others = write(other, state, tmp_path / "f")
    container, prefix, _, _ = LAYOUTS[other]
    keys = [*others, *(f"{prefix}{key}" for key in state), f"found ['{container}']"]
    for name in set(TELLING) - {other}:
        with pytest.raises(BackboneError, match=f"^{name}: .*f: (not the ResNet-50|expected a state dict)") as raised:
            checkpoint_spec(name).read(tmp_path / "f")
        assert any(key in str(raised.value) for key in keys), str(raised.value)


def test_what_is_missing_left_over_or_of_another_shape_is_named(state: State, tmp_path: Path) -> None:
    bad = {**state, "layer1.0.conv1.weight": torch.rand(1, 2), "momentum": torch.rand(1), "bn9.weight": torch.rand(1)}
    del bad["layer4.2.bn3.bias"]
    torch.save({f"module.{key}": value for key, value in bad.items()} | {"alien": torch.rand(1)}, tmp_path / "f")
    with pytest.raises(BackboneError) as raised:
        checkpoint_spec("swav").read(tmp_path / "f")
    message = str(raised.value)
    assert "3 left over: alien, module.bn9.weight, module.momentum;" in message
    assert "1 missing: layer4.2.bn3.bias;" in message
    shape = tuple(state["layer1.0.conv1.weight"].shape)
    assert f"1 of another shape: layer1.0.conv1.weight: file (1, 2), network {shape}" in message


def test_some_counters_are_not_enough(state: State, tmp_path: Path) -> None:
    del state["bn1.num_batches_tracked"]
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "f")
    with pytest.raises(BackboneError, match=r"1 missing: bn1.num_batches_tracked"):
        checkpoint_spec("swav").read(tmp_path / "f")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 1}, {"state_dict": {"a": 1}}])
def test_a_file_without_tensors(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "f")
    with pytest.raises(BackboneError, match=r"swav: .*expected a state dict, or one below state_dict; found"):
        checkpoint_spec("swav").read(tmp_path / "f")


@pytest.mark.parametrize("legacy", [True, False])
def test_a_truncated_file(legacy: bool, state: State, tmp_path: Path) -> None:
    write("swav", state, tmp_path / "f", legacy=legacy)
    content = (tmp_path / "f").read_bytes()
    for part in (0.001, 0.3, 0.9, 0.999):
        (tmp_path / "f").write_bytes(content[: int(len(content) * part)])
        with pytest.raises(BackboneError, match="cut short, fetch it again"):
            checkpoint_spec("swav").read(tmp_path / "f")
