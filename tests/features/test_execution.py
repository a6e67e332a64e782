"""Which execution is chosen, why not a faster one, and that features stay what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sslbench.backbones import load_backbone
from sslbench.backbones.backbone import Backbone
from sslbench.backbones.module_network import ModuleNetwork
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.config import Settings
from sslbench.datasets import Images
from sslbench.features import compiled, execution
from sslbench.features.cache import recipe_key
from sslbench.features.device_store import FeatureStore
from sslbench.features.execution import Execution, choose_execution
from sslbench.features.extract import extract_features, feature_recipe

MakeBackbone = Callable[..., Backbone]
MakeSource = Callable[..., Images]


@pytest.fixture
def resnet() -> Backbone:
    backbone = load_backbone("random-init:test_resnet?size=32")
    for part in backbone.network.module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    return backbone


def chosen(backbone: Backbone, images: int = 10_000, dtype: torch.dtype | None = None) -> Execution:
    with torch.inference_mode():
        return choose_execution(backbone, images=images, batch=4, device="cpu", dtype=dtype)


def name_of(arrays: dict[str, np.ndarray]) -> str:
    return arrays["execution"].tobytes().decode().partition(" ")[0]


def test_folded_features_are_those_of_the_plain_loop(resnet: Backbone, make_source: MakeSource) -> None:
    source = make_source(9)
    fast = extract_features(resnet, source, batch_size=4)
    exact = extract_features(resnet, source, batch_size=4, extraction="exact")
    assert (name_of(fast), name_of(exact)) == ("folded", "plain")
    # The stated tolerance: 1e-5 of the largest feature.
    np.testing.assert_allclose(fast["x"], exact["x"], rtol=0, atol=1e-5 * np.abs(exact["x"]).max())
    assert not np.array_equal(fast["x"], exact["x"])


def test_a_network_that_cannot_be_folded_runs_as_it_is(make_backbone: MakeBackbone, make_source: MakeSource) -> None:
    got = chosen(make_backbone())
    assert got.name == "plain"
    assert got.reason.startswith("SmallNetwork need not embed")
    assert name_of(extract_features(make_backbone(), make_source())) == "plain"


def counted(part: nn.Module) -> None:
    part.bias.add_(0.5)


def uncounted(part: nn.Module) -> None:
    part.bias.data.add_(0.5)


def through_numpy(part: nn.Module) -> None:
    np.add(part.bias.numpy(), 0.5, out=part.bias.numpy())


def setting(part: nn.Module) -> None:
    part.eps = 0.5


def hook(part: nn.Module) -> None:
    part.register_forward_hook(lambda module, given, output: output + 0.5)


@pytest.mark.parametrize("change", [counted, uncounted, through_numpy, setting, hook])
def test_a_network_that_changes_is_folded_again(
    change: Callable[[nn.Module], None], resnet: Backbone, make_source: MakeSource
) -> None:
    before = extract_features(resnet, make_source())["x"]
    assert chosen(resnet).backbone.network is chosen(resnet).backbone.network
    with torch.no_grad():
        for part in resnet.network.module.modules():
            if isinstance(part, nn.BatchNorm2d):
                change(part)
    after = extract_features(resnet, make_source())["x"]
    exact = extract_features(resnet, make_source(), extraction="exact")["x"]
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, exact, rtol=0, atol=1e-5 * np.abs(exact).max())


def test_a_replaced_forward_is_not_traced_past(make_source: MakeSource) -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1))
    module[1].running_mean.normal_()
    module.forward = lambda images: module[0](images)
    backbone = Backbone("replaced", ModuleNetwork(module, "avg"), Preprocessing((16, 16), 16), recipe="replaced")
    assert chosen(backbone).reason.startswith("the network cannot be traced: TypeError: forward was replaced")
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(chosen(backbone).embed(images), module[0](images).mean(dim=(2, 3)))


def test_a_folding_that_changes_features_is_not_used(resnet: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(network: object) -> tuple[object, str]:
        twin, reason = real(network)
        twin.module.conv1[0].weight.data.mul_(1.01)
        return twin, reason

    real = execution.fold
    monkeypatch.setattr(execution, "fold", wrong)
    got = chosen(resnet)
    assert got.name == "plain"
    assert got.reason.startswith("folding BatchNorm changed features: largest difference")


def test_nothing_is_compiled_where_it_gains_nothing(resnet: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(execution, "obstacle", lambda dtype: "")
        assert chosen(resnet, images=100).reason == "not compiled: the run is too short"
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert chosen(resnet).reason == "not compiled: in float32 it gains nothing on this processor"
    with torch.autocast("cpu", torch.bfloat16):
        got = chosen(resnet, dtype=torch.bfloat16)
    assert (got.name, got.reason) == ("folded", "not compiled: the processor has no torch.bfloat16 arithmetic")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert compiled.has_fast(torch.bfloat16)
    assert not compiled.has_fast(torch.float16)
    assert not compiled.has_fast(None)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert compiled.has_fast(None)
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    assert compiled.obstacle(torch.bfloat16) == "there is no C++ compiler (no-such-compiler)"


@pytest.mark.parametrize(("images", "expected"), [(1_000, False), (10**9, True)])
def test_only_a_long_run_pays_for_compiling(images: int, expected: bool, resnet: Backbone) -> None:
    for dtype in (None, torch.bfloat16, torch.float16):
        assert compiled.pays(resnet.network, torch.rand(2, 3, 32, 32), images, dtype) is expected


def test_a_compiler_that_fails_leaves_the_folded_network(resnet: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> object:
        raise RuntimeError("C++ compile error\nmore")

    monkeypatch.setattr(execution, "_against_compiling", lambda *_: "")
    monkeypatch.setattr(compiled.CompiledNetwork, "embed", fail)
    got = chosen(resnet)
    assert (got.name, got.reason) == ("folded", "not compiled: RuntimeError: C++ compile error")


@pytest.mark.skipif(not compiled.has_compiler(), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compiled_features_are_those_of_the_plain_loop(
    make_source: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_against_compiling", lambda *_: "")
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1))
    module[1].running_mean.normal_(0, 0.1)
    preprocessing = Preprocessing(input_size=(16, 16), resize=16)
    backbone = Backbone("two-layers", ModuleNetwork(module, "avg"), preprocessing, recipe="two-layers")
    # The last batch is smaller and has to be filled up.
    fast, exact = (
        extract_features(backbone, make_source(6), batch_size=4, extraction=how) for how in ("fast", "exact")
    )
    assert name_of(fast) == "compiled"
    np.testing.assert_allclose(fast["x"], exact["x"], rtol=0, atol=1e-5 * np.abs(exact["x"]).max())
    assert chosen(backbone).name == "compiled"


def test_the_key_tells_fast_from_exact_and_keeps_earlier_exact_files(
    make_backbone: MakeBackbone, make_source: MakeSource
) -> None:
    backbone, source = make_backbone(), make_source()
    fast, exact = (feature_recipe(backbone, source, "float32", extraction=name) for name in ("fast", "exact"))
    assert recipe_key(fast) != recipe_key(exact)
    # What version 1 wrote was computed by the plain loop.
    assert set(exact) == {"backbone", "pooling", "preprocessing", "dtype", "images", "version"}


def test_the_store_remembers_what_ran(
    tmp_path: Path, resnet: Backbone, make_source: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source()
    settings = Settings(cache_dir=tmp_path, device="cpu")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    told = "folded (not compiled: in float32 it gains nothing on this processor)"
    assert FeatureStore(settings).get(resnet, source).execution == told
    again = FeatureStore(settings).get(resnet, source)
    assert (again.execution, again.seconds) == (told, 0.0)
    exact = FeatureStore(Settings(cache_dir=tmp_path, device="cpu", extraction="exact")).get(resnet, source)
    assert exact.execution == "plain (exact extraction was asked for)"
    assert exact.seconds > 0
