"""Checkpoint files: every container and format, and errors that list what does not fit."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from sslbench.backbones import load_backbone
from sslbench.backbones.checkpoint import load_weights, read_state_dict
from sslbench.errors import BackboneError, UnknownNameError

ARCH = "test_resnet"
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights() -> State:
    """A pretrained network as a training script would save it: classifier included, counters not at zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        state = timm.create_model(ARCH, num_classes=10).state_dict()
        for name, tensor in state.items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) * 0.1 + 0.01)
            else:
                assert name.endswith("num_batches_tracked")
                tensor.fill_(3)
    assert {"fc.weight", "fc.bias"} <= state.keys()
    return dict(state)


def save_zip(content: Any, path: Path) -> None:
    torch.save(content, path)


def save_legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def assert_loaded(name: str, weights: State) -> dict[str, Any]:
    backbone = load_backbone(name)
    state = backbone.network.module.state_dict()
    assert state.keys() == weights.keys() - {"fc.weight", "fc.bias"}
    for key, tensor in state.items():
        assert torch.equal(tensor, weights[key]), key
    return dict(backbone.details)


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_file])
def test_every_format_round_trips(save: Callable[[Any, Path], None], weights: State, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    save(weights, path)
    details = assert_loaded(f"file:{path}?arch={ARCH}", weights)
    assert details["dropped"] == ["fc.bias", "fc.weight"]
    assert details["source"] == "file:weights.bin"


@pytest.mark.parametrize("container", ["state_dict", "model", "resnet"])
def test_containers_are_opened(container: str, weights: State, tmp_path: Path) -> None:
    torch.save({"epoch": 3, container: weights, "optimizer": {"lr": 0.1}}, tmp_path / "w.pth")
    assert_loaded(f"file:{tmp_path / 'w.pth'}?arch={ARCH}", weights)


def test_the_digest_does_not_depend_on_the_format(weights: State, tmp_path: Path) -> None:
    save_zip(weights, tmp_path / "a")
    save_legacy({"state_dict": weights}, tmp_path / "b")
    save_file(weights, tmp_path / "c")
    digests = {load_backbone(f"file:{tmp_path / name}?arch={ARCH}").digest for name in "abc"}
    assert len(digests) == 1
    save_zip({**weights, "layer1.0.conv1.weight": weights["layer1.0.conv1.weight"] + 1e-6}, tmp_path / "d")
    assert load_backbone(f"file:{tmp_path / 'd'}?arch={ARCH}").digest not in digests


def test_a_prefix_is_stripped(weights: State, tmp_path: Path) -> None:
    torch.save({"state_dict": {f"module.encoder.{key}": value for key, value in weights.items()}}, tmp_path / "w")
    details = assert_loaded(f"file:{tmp_path / 'w'}?arch={ARCH}&prefix=module.encoder.", weights)
    assert details["dropped"] == ["module.encoder.fc.bias", "module.encoder.fc.weight"]
    assert details["prefix"] == "module.encoder."


def test_drop_leaves_tensors_out_and_records_them(weights: State, tmp_path: Path) -> None:
    extra = {"queue": torch.rand(2), "projector.0.weight": torch.rand(2), "projector.2.weight": torch.rand(2)}
    torch.save({**weights, **extra}, tmp_path / "w")
    details = assert_loaded(f"file:{tmp_path / 'w'}?arch={ARCH}&drop=queue|projector.*", weights)
    assert details["dropped"] == ["fc.bias", "fc.weight", *sorted(extra)]


def test_missing_counters_are_accepted(weights: State, tmp_path: Path) -> None:
    old = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(weights)
    torch.save(old, tmp_path / "w")
    state = load_backbone(f"file:{tmp_path / 'w'}?arch={ARCH}").network.module.state_dict()
    assert all(torch.equal(state[key], old[key]) for key in old.keys() & state.keys())


def test_everything_that_does_not_fit_is_listed(weights: State, tmp_path: Path) -> None:
    bad = {**weights, "momentum.weight": torch.rand(1), "layer1.0.conv1.weight": torch.rand(1, 2, 3, 4)}
    missing = "layer2.0.conv1.weight"
    del bad[missing]
    wanted = tuple(weights["layer1.0.conv1.weight"].shape)
    torch.save(bad, tmp_path / "w")
    with pytest.raises(BackboneError) as raised:
        load_backbone(f"file:{tmp_path / 'w'}?arch={ARCH}")
    message = str(raised.value)
    assert "1 left over: momentum.weight;" in message
    assert f"1 missing: {missing};" in message
    assert f"1 of another shape: layer1.0.conv1.weight: file (1, 2, 3, 4), network {wanted}" in message
    assert "drop=" in message


def vit(folder: Path, size: int, arch: str = "test_vit") -> State:
    state = dict(timm.create_model(arch, num_classes=0, img_size=size).state_dict())
    torch.save(state, folder / "vit.pth")
    return state


def test_position_embeddings_of_another_size_are_resampled_as_timm_does(tmp_path: Path) -> None:
    state = vit(tmp_path, 160)
    backbone = load_backbone(f"file:{tmp_path}/vit.pth?arch=test_vit&size=96")
    assert backbone.details["resampled"] == ["pos_embed"]
    got = backbone.network.module.state_dict()
    grid = state["pos_embed"][:, 1:].reshape(1, 10, 10, -1).permute(0, 3, 1, 2)
    wanted = torch.nn.functional.interpolate(grid, size=(6, 6), mode="bicubic", antialias=True)
    torch.testing.assert_close(got["pos_embed"][:, 1:], wanted.permute(0, 2, 3, 1).reshape(1, 36, -1))
    for name, tensor in state.items():
        if name != "pos_embed":
            assert torch.equal(got[name], tensor), name
    assert backbone.embed(torch.zeros(1, 3, 96, 96)).shape == (1, 64)
    # The weights of a larger network into one of the architecture's own size, behind a prefix.
    torch.save(
        {"teacher": {f"backbone.{name}": value for name, value in vit(tmp_path, 224).items()}}, tmp_path / "w.pth"
    )
    again = load_backbone(f"file:{tmp_path}/w.pth?arch=test_vit&prefix=backbone.")
    assert again.details["resampled"] == ["pos_embed"]
    assert again.preprocessing.input_size == (160, 160)


def test_weights_of_the_right_size_are_not_touched(tmp_path: Path) -> None:
    state = vit(tmp_path, 96)
    backbone = load_backbone(f"file:{tmp_path}/vit.pth?arch=test_vit&size=96")
    assert "resampled" not in backbone.details
    assert all(torch.equal(value, state[name]) for name, value in backbone.network.module.state_dict().items())


def test_tensors_that_timm_would_drop_are_still_left_over(tmp_path: Path) -> None:
    torch.save({**vit(tmp_path, 160), "mask_token": torch.zeros(1, 1, 64)}, tmp_path / "w.pth")
    with pytest.raises(BackboneError, match="1 left over: mask_token"):
        load_backbone(f"file:{tmp_path}/w.pth?arch=test_vit&size=96")


@pytest.mark.parametrize(("arch", "size"), [("pit_ti_224", 160), ("convit_tiny", 160)])
def test_an_architecture_that_cannot_be_resampled_speaks_of_the_size(arch: str, size: int, tmp_path: Path) -> None:
    torch.save(timm.create_model(arch, num_classes=0).state_dict(), tmp_path / "w.pth")
    with pytest.raises(BackboneError) as raised:
        load_backbone(f"file:{tmp_path}/w.pth?arch={arch}&size={size}")
    message = str(raised.value)
    assert "pos_embed: file " in message
    assert f"built for pictures of size {size}, and timm has no way" in message
    assert "prefix=" not in message
    assert "drop=" not in message


def test_patches_of_another_size_are_another_network(tmp_path: Path) -> None:
    timm_vit = timm.create_model("test_vit", num_classes=0, patch_size=32)
    torch.save(timm_vit.state_dict(), tmp_path / "w.pth")
    with pytest.raises(BackboneError, match=r"of another shape: .*patch_embed\.proj\.weight"):
        load_backbone(f"file:{tmp_path}/w.pth?arch=test_vit")


def test_long_lists_are_cut(weights: State, tmp_path: Path) -> None:
    torch.save({**weights, **{f"queue{i}": torch.rand(1) for i in range(9)}}, tmp_path / "w")
    with pytest.raises(BackboneError, match=r"9 left over: queue0, .*queue5, \.\.\."):
        load_backbone(f"file:{tmp_path / 'w'}?arch={ARCH}")


def test_nothing_is_loaded_when_something_does_not_fit() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(BackboneError, match=r"missing: 1\.bias, 1\.weight"):
        load_weights(module, {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(2)}, prefix="", drop=[], where="here")
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_keys_without_the_prefix_are_left_over() -> None:
    module = torch.nn.Linear(2, 1)
    tensors = {"net.weight": torch.ones(1, 2), "net.bias": torch.ones(1), "weight": torch.zeros(1, 2)}
    with pytest.raises(BackboneError, match="1 left over: weight"):
        load_weights(module, tensors, prefix="net.", drop=[], where="here")
    assert load_weights(module, tensors, prefix="net.", drop=["weight"], where="here") == ["weight"]
    assert module.weight.tolist() == [[1.0, 1.0]]


class Evil:
    """Pickles to a call that would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "ran")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_code_is_refused_and_not_run(legacy: bool, tmp_path: Path, weights: State) -> None:
    content = {**weights, "evil": Evil(tmp_path / "mark")}
    torch.save(content, tmp_path / "w", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(BackboneError, match="weights_only=True"):
        load_backbone(f"file:{tmp_path / 'w'}?arch={ARCH}")
    assert not (tmp_path / "mark").exists()
    # The file is a real attack: an unsafe load runs it.
    torch.load(tmp_path / "w", weights_only=False)
    assert (tmp_path / "mark").exists()


def test_a_plain_pickle_with_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(pickle.dumps({"evil": Evil(tmp_path / "mark")}))
    with pytest.raises(BackboneError, match="weights_only=True"):
        read_state_dict(tmp_path / "w")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_file])
def test_a_file_cut_short_anywhere_is_refused(save: Callable[[Any, Path], None], tmp_path: Path) -> None:
    save({"a.weight": torch.rand(3, 2), "b.bias": torch.rand(2)}, tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    assert read_state_dict(tmp_path / "whole").keys() == {"a.weight", "b.bias"}
    for length in range(0, len(content), max(1, len(content) // 60)):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(BackboneError, match="cut"):
            read_state_dict(tmp_path / "cut")


@pytest.mark.parametrize("content", [[torch.rand(1)], {"a": 1, "b": {"c": 2}}, torch.rand(2)])
def test_a_file_without_a_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w")
    with pytest.raises(BackboneError, match="expected a state dict"):
        read_state_dict(tmp_path / "w")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"there is no checkpoint file .*absent"):
        load_backbone(f"file:{tmp_path / 'absent'}?arch={ARCH}")


def test_the_architecture_must_be_named_and_known(tmp_path: Path, weights: State) -> None:
    torch.save(weights, tmp_path / "w")
    with pytest.raises(BackboneError, match=re.escape("file:PATH?arch=resnet50")):
        load_backbone(f"file:{tmp_path / 'w'}")
    with pytest.raises(UnknownNameError, match=r"unknown timm architecture 'resnet5o'; nearest:.*resnet50"):
        load_backbone(f"file:{tmp_path / 'w'}?arch=resnet5o")


def test_an_unknown_option_is_refused(tmp_path: Path, weights: State) -> None:
    torch.save(weights, tmp_path / "w")
    with pytest.raises(BackboneError, match=r"unknown option prefx; known: .*prefix"):
        load_backbone(f"file:{tmp_path / 'w'}?arch={ARCH}&prefx=module.")


def test_the_checkpoint_argument_is_the_same_as_a_file_name(tmp_path: Path, weights: State) -> None:
    torch.save(weights, tmp_path / "w")
    by_argument = load_backbone(ARCH, checkpoint=str(tmp_path / "w"))
    assert by_argument.name == ARCH
    assert by_argument.digest == load_backbone(f"file:{tmp_path / 'w'}?arch={ARCH}").digest
