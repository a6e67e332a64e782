"""Backbones from a user's module and from torch.hub, with a repository on disk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from sslbench.backbones import load_backbone
from sslbench.errors import BackboneError

SOURCE = """
import torch
from torch import nn
from sslbench.backbones import Backbone, load_backbone

class Net(nn.Module):
    input_size, mean, std = 32, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.fc = nn.Linear(6, 10)
    def forward(self, x):
        return self.fc(self.conv(x).mean(dim=(2, 3)))

def plain():
    net = Net()
    with torch.no_grad():
        net.conv.weight.fill_(0.01)
        net.conv.bias.fill_(0.5)
    return net

def wide():
    net = plain()
    net.input_size = (3, 40, 56)
    return net

def defaults():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def bad_mean():
    net = plain()
    net.mean = 0.5
    return net

def number():
    return 3

def ready():
    return load_backbone("pixels")

value = 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = f"user_{tmp_path.name.replace('-', '_')}_networks"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    yield name
    sys.modules.pop(name, None)


def test_a_factory_with_its_own_preprocessing(module: str) -> None:
    before = list(sys.path)
    name = f"python:{module}:plain"
    backbone = load_backbone(name)
    assert sys.path == before
    assert backbone.name == name
    preprocessing = backbone.preprocessing
    assert (preprocessing.input_size, preprocessing.resize) == ((32, 32), 32)
    assert (preprocessing.mean, preprocessing.std) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    # Without its linear head: 0.01 times the sum of 27 ones, plus 0.5.
    torch.testing.assert_close(backbone.embed(torch.ones(2, 3, 32, 32)), torch.full((2, 6), 0.77))
    assert backbone.details["removed_head"] == "fc"
    assert not backbone.network.module.training


def test_sizes(module: str) -> None:
    assert load_backbone(f"python:{module}:wide").preprocessing.input_size == (40, 56)
    assert load_backbone(f"python:{module}:plain?size=48").preprocessing.input_size == (48, 48)
    defaults = load_backbone(f"python:{module}:defaults").preprocessing
    assert (defaults.input_size, defaults.mean) == ((224, 224), (0.485, 0.456, 0.406))
    assert load_backbone(f"python:{module}:plain?preprocessing=paper").preprocessing.input_size == (224, 224)


def test_a_factory_may_return_a_backbone(module: str) -> None:
    backbone = load_backbone(f"python:{module}:ready")
    assert backbone.name == f"python:{module}:ready"
    assert backbone.digest == load_backbone("pixels").digest


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("number", "expected an nn.Module or a Backbone, got int"),
        ("bad_mean", "attribute mean must hold three numbers, got 0.5"),
        ("absent", "has no callable 'absent'"),
        ("value", "has no callable 'value'"),
        ("plain?pooling=max", "unknown pooling 'max'"),
        ("plain?sise=3", "unknown option sise; known: .*size"),
        ("ready?size=3", "unknown option size"),
        ("", "expected python:PACKAGE.MODULE:FACTORY"),
    ],
)
def test_other_factories_are_refused(factory: str, message: str, module: str) -> None:
    with pytest.raises(BackboneError, match=message):
        load_backbone(f"python:{module}:{factory}")


def test_a_missing_module_is_named() -> None:
    with pytest.raises(BackboneError, match=r"cannot import absent_package\.networks: .*run from its folder"):
        load_backbone("python:absent_package.networks:make")


HUBCONF = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.fc = nn.Linear(5, 1000)
    def forward(self, x):
        return self.fc(self.conv(x).mean(dim=(2, 3)))

def small(pretrained=True):
    torch.manual_seed(0)
    return Net()

def offline(pretrained=True):
    raise OSError("weights cannot be fetched")
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Path]:
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    folder = tmp_path / "owner_networks_v1"
    folder.mkdir()
    (folder / "hubconf.py").write_text(HUBCONF)
    yield folder
    torch.hub.set_dir(before)


def test_a_hub_entry_loads_without_its_head(hub: Path) -> None:
    backbone = load_backbone("hub:owner/networks:v1:small")
    assert isinstance(backbone.network.module.fc, nn.Identity)
    assert backbone.embed(torch.rand(2, 3, 16, 16)).shape == (2, 5)
    assert backbone.details == {"source": "hub:owner/networks:v1:small", "removed_head": "fc"}
    assert load_backbone("hub:owner/networks:v1:small").digest == backbone.digest


@pytest.mark.parametrize(("entry", "message"), [("absent", "absent"), ("offline", "weights cannot be fetched")])
def test_a_hub_entry_that_cannot_be_had(entry: str, message: str, hub: Path) -> None:
    with pytest.raises(BackboneError, match=rf"torch.hub could not load {entry} from owner/networks:v1: .*{message}"):
        load_backbone(f"hub:owner/networks:v1:{entry}")


def test_a_hub_repository_that_needs_a_missing_package(hub: Path) -> None:
    (hub / "hubconf.py").write_text("import absent_package\n")
    with pytest.raises(BackboneError, match="No module named 'absent_package'"):
        load_backbone("hub:owner/networks:v1:small")


@pytest.mark.parametrize("name", ["hub:networks:small", "hub:a/b/c:small", "hub:owner/networks:"])
def test_a_hub_name_must_be_whole(name: str) -> None:
    with pytest.raises(BackboneError, match=r"expected hub:OWNER/REPO\[:REF\]:ENTRY"):
        load_backbone(name)


def test_the_digest_knows_what_a_module_computes() -> None:
    from sslbench.backbones.options import Options
    from sslbench.backbones.python_source import wrap

    def digest(*layers: nn.Module) -> str:
        return wrap("net", nn.Sequential(*layers), Options("net", {}), recipe="test").digest

    average = digest(nn.AvgPool2d(8), nn.Flatten())
    assert digest(nn.AvgPool2d(8), nn.Flatten()) == average
    assert digest(nn.MaxPool2d(8), nn.Flatten()) != average
    assert digest(nn.AvgPool2d(16), nn.Flatten()) != average
