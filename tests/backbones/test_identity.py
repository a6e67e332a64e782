"""The digest names what a network computes, and notices whatever is changed in place."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from sslbench.backbones import Backbone, Network, identity, load_backbone
from sslbench.backbones.digest import weights_digest
from sslbench.backbones.fixed_outputs import outputs_on_fixed_pictures
from sslbench.backbones.identity import Seen
from sslbench.backbones.module_source import wrap
from sslbench.backbones.options import Options

FACTOR = 2.0


def helper(images: Tensor) -> Tensor:
    return images * FACTOR


class Block(nn.Module):
    """Features of one of three layers, with settings of every kind."""

    input_size = 24

    def __init__(self, block: int = 0, **settings: Any) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.trunk = nn.ModuleList([nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)])
        self.norm = nn.BatchNorm2d(8)
        self.block = block
        for name, value in settings.items():
            setattr(self, name, value)

    def forward(self, images: Tensor) -> Tensor:
        for number, layer in enumerate(self.trunk):
            images = layer(images)
            if number == self.block:
                break
        return helper(self.norm(images)).mean(dim=(2, 3))


def built(network: nn.Module) -> Backbone:
    return wrap("net", network, Options("net", {}), recipe="test")


def digest(network: nn.Module) -> str:
    return built(network).digest


def test_equal_networks_have_equal_digests() -> None:
    assert digest(Block()) == digest(Block())
    assert digest(Block()) != digest(Block(2))


def test_settings_that_the_output_does_not_tell_count_too() -> None:
    class Config:
        def __init__(self, depth: int) -> None:
            self.depth = depth

    settings: list[Any] = [
        1, 2, 1.5, "a", True, None, (1, 2), [1, 2], [2, 1], {"a": 1}, {"a": 2}, {1, 2}, {"a": {"b": [1]}}, {"a": {"b": [2]}},
        torch.ones(3), torch.zeros(3), np.ones(3), np.zeros(3), torch.float16, Config(1), Config(2), nn.Conv2d, nn.Linear, len,
        [nn.PReLU(init=0.1)], [nn.PReLU(init=0.2)], lambda x: x, lambda x: x + 1, Path("a"), np.float32(3),
    ]  # fmt: skip
    digests = [digest(Block(setting=setting)) for setting in settings]
    assert len(set(digests)) == len(digests)
    assert digests == [digest(Block(setting=setting)) for setting in settings]


def adder(number: float) -> Callable[..., Tensor]:
    return lambda module, given, output: output + number


def test_hooks_and_a_replaced_forward_count() -> None:
    def hooked(number: float, kind: str = "register_forward_hook", layer: int = 0) -> nn.Module:
        network = Block()
        getattr(network.trunk[layer], kind)(adder(number))
        return network

    def replaced(number: float) -> nn.Module:
        network = Block()
        network.forward = lambda images: Block.forward(network, images) + number
        return network

    def rebound() -> nn.Module:
        network = Block()
        network.trunk[0].forward = lambda images: Block().trunk[0](images) * 2
        return network

    networks = [
        Block(), hooked(0), hooked(1), hooked(2), hooked(0, layer=2), hooked(0, "register_full_backward_hook"), replaced(0),
        replaced(1), rebound(),
    ]  # fmt: skip
    assert len({digest(network) for network in networks}) == len(networks)
    assert digest(hooked(1)) == digest(hooked(1))


def test_the_code_of_helpers_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(Block())
    backbone = built(Block())
    assert backbone.digest == before
    # Neither attributes nor the source of the class show this.
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 2.0001)
    assert digest(Block()) != before
    # Not even for a network that is loaded already.
    assert backbone.digest == digest(Block())
    monkeypatch.setattr(sys.modules[__name__], "helper", lambda images: images * 2)
    assert backbone.digest == before


def test_a_method_that_is_put_on_the_class_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(Block())
    monkeypatch.setattr(Block, "unused", lambda self: 3, raising=False)
    assert digest(Block()) != before


def test_a_class_without_source_is_told_by_its_code() -> None:
    def made(expression: str) -> nn.Module:
        space: dict[str, Any] = {"nn": nn}
        exec(
            f"class Net(nn.Module):\n    input_size = 8\n    def forward(self, x):\n        return {expression}", space
        )
        return space["Net"]()

    assert digest(made("x.mean((2, 3))")) == digest(made("x.mean((2, 3))")) != digest(made("x.amax((2, 3))"))
    # Equal outputs, other code: what is not covered by two pictures.
    assert digest(made("x.mean((2, 3))")) != digest(made("x.mean((2, 3)) if len(x) < 9 else x.amax((2, 3))"))


CHANGES: dict[str, Callable[[Any], object]] = {
    "in place": lambda net: net.trunk[0].weight.mul_(1.001),
    "past the counter": lambda net: net.trunk[0].weight.data.mul_(1.001),
    "through NumPy": lambda net: np.multiply(net.trunk[0].weight.numpy(), 1.001, out=net.trunk[0].weight.numpy()),
    "two weights swapped": lambda net: net.trunk[0].weight.data.copy_(net.trunk[0].weight.data.flip(0).clone()),
    "a buffer": lambda net: net.norm.running_mean.data.add_(0.1),
    "a parameter replaced": lambda net: setattr(
        net.trunk[0], "bias", nn.Parameter(torch.zeros(8), requires_grad=False)
    ),
    "a setting": lambda net: setattr(net, "block", 1),
    "a setting of a layer": lambda net: setattr(net.norm, "eps", 0.5),
    "a hook": lambda net: net.trunk[0].register_forward_hook(adder(1)),
    "forward": lambda net: setattr(net, "forward", lambda images: images.mean(dim=(2, 3))),
    "a layer replaced": lambda net: net.trunk.__setitem__(0, nn.Conv2d(3, 8, 5)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_in_place_are_noticed(change: str) -> None:
    backbone = built(Block())
    first = backbone.look()
    assert backbone.look() == first
    with torch.no_grad():
        CHANGES[change](backbone.network.module)
    second = backbone.look()
    assert second.digest != first.digest
    assert second.stamp != first.stamp


NAMED: dict[str, Callable[[Any], object]] = {
    "past the counter": lambda net: net.conv1[0].weight.data.mul_(1.001),
    "a setting": lambda net: setattr(net.layer1[0].bn1, "eps", 0.5),
    "a pair of numbers": lambda net: setattr(net.layer1[0].conv1, "stride", (2, 2)),
    "a hook": lambda net: net.layer1.register_forward_hook(adder(1)),
    "forward": lambda net: setattr(net.layer1[0], "forward", lambda images: images),
    "a layer replaced": lambda net: setattr(net, "maxpool", nn.Identity()),
}


@pytest.mark.parametrize("change", NAMED)
def test_changes_of_a_named_network_are_noticed(change: str) -> None:
    backbone = load_backbone("random-init")
    # As long as nothing is changed, records of this name go on to be found.
    assert (
        backbone.digest
        == weights_digest(backbone.network.module, backbone.recipe)
        == load_backbone("random-init").digest
    )
    before = backbone.digest
    with torch.no_grad():
        NAMED[change](backbone.network.module)
    assert backbone.digest != before
    assert load_backbone("random-init").digest == before


def test_a_network_of_ones_own_in_a_backbone_with_a_recipe_is_told_by_its_code() -> None:
    class Scaled(Network):
        def __init__(self, network: Network, scale: float) -> None:
            self.module, self.scale, self.inner = network.module, scale, network

        def embed(self, images: Tensor) -> Tensor:
            return self.inner.embed(images) * self.scale

        def feature_maps(self, images: Tensor) -> list[Tensor]:
            return self.inner.feature_maps(images)

    named = load_backbone("random-init")
    digests = [replace(named, network=Scaled(named.network, scale)).digest for scale in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]
    assert named.digest not in digests
    assert named.digest == load_backbone("random-init").digest


def test_a_change_that_is_taken_back_gives_the_old_digest() -> None:
    backbone = built(Block())
    before = backbone.digest
    kept = backbone.network.module.trunk[0].weight.clone()
    backbone.network.module.trunk[0].weight.data.zero_()
    assert backbone.digest != before
    backbone.network.module.trunk[0].weight.data.copy_(kept)
    assert backbone.digest == before


def test_neither_layout_nor_preprocessing_is_part_of_it() -> None:
    backbone = built(Block())
    before = backbone.digest
    backbone.network.module.to(memory_format=torch.channels_last)
    assert backbone.digest == before
    assert backbone.seeing(backbone.preprocessing).digest == before


def test_a_network_is_run_once_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(
        identity,
        "outputs_on_fixed_pictures",
        lambda *given: sizes.append(given[2]) or outputs_on_fixed_pictures(*given),
    )
    backbone = built(Block())
    larger = backbone.seeing(replace(backbone.preprocessing, input_size=(32, 32), resize=32))
    digests = [one.digest for one in (backbone, larger, backbone, larger)]
    assert digests[:2] == digests[2:]
    backbone.network.module.to(memory_format=torch.channels_last)
    assert [one.digest for one in (backbone, larger)] == digests[:2]
    assert sizes == [(24, 24), (32, 32)]


class Notes(Block):
    """Writes into itself when it runs, in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.sizes = 0, []
        self.register_buffer("counter", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))
        self.cache: dict[str, Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        self.sizes.append(len(images))
        self.counter += 1
        self.seen = self.seen + 1
        self.last = images
        self.cache["first"] = images[:1]
        self.register_buffer("made", images.mean(), persistent=False)
        return super().forward(images)


def test_what_a_network_notes_when_it_runs_is_no_setting() -> None:
    backbone = built(Notes())
    before = backbone.digest
    backbone.embed(torch.rand(3, 3, 24, 24))
    assert backbone.network.module.calls == 1
    assert backbone.digest == before
    backbone.network.module.block = 2
    assert backbone.digest != before


def test_a_probe_leaves_the_network_as_it_was() -> None:
    network = Notes().train()
    lists = {name: value for name, value in vars(network).items() if isinstance(value, list | dict)}
    contents = {name: list(value) for name, value in lists.items()}
    backbone = built(network)
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    attributes = set(vars(network))
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert backbone.look().note == ""
    assert network.training and network.norm.training
    assert set(vars(network)) == attributes
    assert (network.calls, network.sizes, network.cache) == (0, [], {})
    assert all(vars(network)[name] is value and list(value) == contents[name] for name, value in lists.items())
    assert network.state_dict().keys() == before.keys()
    for name, value in network.state_dict().items():
        assert value.dtype == before[name].dtype and torch.equal(value, before[name]), name
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


class Noisy(Block):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + torch.rand(8)


class Drifting(Block):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        self.shift += 1
        return super().forward(images) + self.shift


@pytest.mark.parametrize("network", [Noisy, Drifting])
def test_what_gives_another_output_each_time_is_never_found_again(network: type[nn.Module]) -> None:
    one, other = built(network()), built(network())
    assert one.digest != other.digest
    # One object is one network all the same.
    assert one.digest == one.digest
    assert "two passes over the same pictures differ" in one.to_json()["details"]["identity"]


def test_a_network_that_does_not_run_is_told_by_its_code() -> None:
    class Failing(Block):
        def forward(self, images: Tensor) -> Tensor:
            raise ValueError("only for pictures of cats")

    backbone = built(Failing())
    assert backbone.digest == digest(Failing())
    assert backbone.digest != digest(Failing(2))
    assert backbone.look().note.endswith("ValueError: only for pictures of cats")
    assert "identity" not in built(Block()).to_json()["details"]


class Insists(Block):
    """Multiplies by a matrix that is float32 whatever comes."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) @ torch.eye(8, dtype=torch.float32)


class Casts(Block):
    """Computes in float32 in between."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).float().softmax(1).to(images.dtype)


@pytest.mark.parametrize("network", [Insists, Casts])
def test_networks_that_insist_on_float32_are_told_apart_less_finely(
    network: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest(network())
    assert digest(network()) == before
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 2.000001)
    assert digest(network()) == before
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 3.0)
    assert digest(network()) != before


SCRIPT = """
import sys, timm, torch
from sslbench.backbones.module_source import wrap
from sslbench.backbones.options import Options
from sslbench.backbones.fixed_outputs import outputs_on_fixed_pictures
for arch in ("test_resnet", "test_vit"):
    network = timm.create_model(arch, num_classes=0)
    # Initial weights depend on the processor.
    network.load_state_dict(torch.load(f"{sys.argv[1]}/{arch}.pt"))
    print(wrap("net", network, Options("net", {}), recipe="test").digest)
print(torch.backends.cpu.get_cpu_capability())
"""


def test_the_digest_is_the_same_on_another_processor_and_with_other_threads(tmp_path: Path) -> None:
    digests = []
    # A fixed draw: six digits may fall either way in rare cases, and then features are made once more.
    torch.manual_seed(0)
    for arch in ("test_resnet", "test_vit"):
        network = timm.create_model(arch, num_classes=0)
        for tensor in network.parameters():
            nn.init.uniform_(tensor, -0.3, 0.5)
        torch.save(network.state_dict(), tmp_path / f"{arch}.pt")
        digests.append(digest(network))
    plain = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    for settings, told in (({"OMP_NUM_THREADS": "1", **plain}, "DEFAULT"), ({"OMP_NUM_THREADS": "2"}, "")):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path)],
            env={**os.environ, **settings}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        *got, capability = done.stdout.split()
        assert got == digests
        assert not told or capability == told


def test_one_look_serves_a_record() -> None:
    backbone = built(Block())
    assert backbone.to_json(Seen("abc", "", "because"))["digest"] == "abc"
    assert backbone.to_json(Seen("abc", "", "because"))["details"]["identity"] == "because"
