"""Offline, no loader opens a connection, whatever has been imported before, and afterwards everything is as it was."""

from __future__ import annotations

import json
import os
import threading
import urllib.request
from pathlib import Path
from urllib.error import URLError

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file

import sslbench
from sslbench.backbones.registry import load_backbone
from sslbench.datasets import DatasetSpec
from sslbench.errors import BackboneError
from sslbench.offline import offline
from tests.conftest import Registries

HUBCONF = """
import torch

def tiny(pretrained=True):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    net.input_size = 16
    net.load_state_dict(torch.hub.load_state_dict_from_url("https://example.org/tiny.pth"))
    return net
"""


def state() -> tuple[object, ...]:
    opener = vars(urllib.request)["_opener"]
    return os.environ.get("HF_HUB_OFFLINE"), huggingface_hub.constants.HF_HUB_OFFLINE, opener


@pytest.fixture(autouse=True)
def _nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: Registries) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))


@pytest.mark.usefixtures("no_sockets")
@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "hub:example/nets:tiny", "hub:example/nets:v1:tiny"])
def test_what_is_not_here_is_told_without_a_connection(name: str) -> None:
    before = state()
    with pytest.raises(BackboneError, match=name.split(":")[0]):
        load_backbone(name, offline=True)
    assert state() == before


@pytest.mark.usefixtures("no_sockets")
def test_what_torch_hub_has_is_loaded(tmp_path: Path) -> None:
    # Without a ref, torch.hub asks GitHub for the default branch before it looks at its own directory.
    checkout = tmp_path / "hub/example_nets_main"
    checkout.mkdir(parents=True)
    (checkout / "hubconf.py").write_text(HUBCONF)
    with pytest.raises(BackboneError, match=r"offline: https://example.org/tiny.pth was not opened"):
        load_backbone("hub:example/nets:tiny", offline=True)
    weights = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)).state_dict()
    (tmp_path / "hub/checkpoints").mkdir(exist_ok=True)
    torch.save(weights, tmp_path / "hub/checkpoints/tiny.pth")
    backbone = load_backbone("hub:example/nets:tiny", offline=True)
    assert torch.equal(backbone.network.module.state_dict()["0.bias"], weights["0.bias"])


def hub_model(root: Path, repository: str) -> dict[str, torch.Tensor]:
    """A timm model as huggingface_hub keeps it; returns its weights."""
    torch.manual_seed(3)
    net = timm.create_model("test_resnet", num_classes=5)
    folder = root / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text("0" * 40)
    save_file(net.state_dict(), snapshot / "model.safetensors")
    config = {"input_size": [3, 48, 48], "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "num_classes": 5}
    config |= {"classifier": "fc", "first_conv": "conv1", "pool_size": [2, 2], "interpolation": "bicubic"}
    text = json.dumps({"architecture": "test_resnet", "num_classes": 5, "pretrained_cfg": config})
    (snapshot / "config.json").write_text(text)
    return net.state_dict()


@pytest.mark.usefixtures("no_sockets")
def test_what_huggingface_hub_has_is_loaded(tmp_path: Path) -> None:
    weights = hub_model(tmp_path / "hf", "someone/net.v2")
    backbone = load_backbone("hf-hub:someone/net.v2", offline=True)
    loaded = backbone.network.module.state_dict()
    assert loaded.keys() == {name for name in weights if not name.startswith("fc.")}
    assert all(torch.equal(loaded[name], weights[name]) for name in loaded)
    assert backbone.preprocessing.mean == (0.1, 0.2, 0.3)
    assert backbone.preprocessing.input_size == (48, 48)
    with pytest.raises(
        BackboneError, match=r"hf-hub:someone/other: timm could not build .* The repository must hold a timm"
    ):
        load_backbone("hf-hub:someone/other", offline=True)
    (config,) = (tmp_path / "hf").glob("*/snapshots/*/config.json")
    config.write_text('{"architectures": ["Dinov2Model"]}')
    with pytest.raises(
        BackboneError, match=r"configuration lacks 'architecture'. The repository must hold a timm model"
    ):
        load_backbone("hf-hub:someone/net.v2", offline=True)


@pytest.mark.usefixtures("no_sockets")
def test_settings_reach_backbones_and_datasets(tmp_path: Path) -> None:
    seen = []

    def factory() -> torch.nn.Module:
        seen.append(("backbone", huggingface_hub.constants.HF_HUB_OFFLINE, os.environ["HF_HUB_OFFLINE"]))
        net = torch.nn.Flatten()
        net.input_size = 8
        return net

    def load(settings: sslbench.Settings) -> object:
        seen.append(("dataset", huggingface_hub.constants.HF_HUB_OFFLINE, os.environ["HF_HUB_OFFLINE"]))
        with pytest.raises(URLError, match="offline"):
            urllib.request.urlopen("http://example.org/pictures.zip")
        return sslbench.load_dataset("digits", settings)

    sslbench.register_backbone("own", factory)
    sslbench.register_dataset(DatasetSpec("own", load, 10, "", "", ""))
    before = state()
    settings = sslbench.Settings(offline=True, cache_dir=tmp_path, device="cpu")
    assert len(sslbench.evaluate("own", "knn/own", settings=settings)) == 1
    assert sorted(set(seen)) == [("backbone", True, "1"), ("dataset", True, "1")]
    assert state() == before
    with pytest.raises(BackboneError):
        sslbench.evaluate("resnet18.a1_in1k", "knn/digits", settings=settings)


def test_the_variable_means_the_same(monkeypatch: pytest.MonkeyPatch, no_sockets: None) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BackboneError, match="timm could not build"):
        load_backbone("resnet18.a1_in1k")


def test_local_files_are_read(tmp_path: Path, no_sockets: None) -> None:
    (tmp_path / "file").write_text("here")
    with offline():
        assert urllib.request.urlopen((tmp_path / "file").as_uri()).read() == b"here"
        assert urllib.request.urlopen("data:,here").read() == b"here"
        for address in ("https://example.org", "ftp://example.org/file"):
            with pytest.raises(URLError, match=f"offline: {address}"):
                urllib.request.urlopen(address)


def test_what_the_user_set_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    opener = urllib.request.OpenerDirector()
    monkeypatch.setitem(vars(urllib.request), "_opener", opener)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    before = state()
    with pytest.raises(KeyError), offline():
        assert state()[:2] == ("1", True)
        raise KeyError
    assert state() == before == ("0", False, opener)
    with offline(False):
        assert state() == before


def test_threads_that_overlap_leave_nothing_behind() -> None:
    before = state()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with offline():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with offline():
        thread.start()
        assert entered.wait(10)
    assert huggingface_hub.constants.HF_HUB_OFFLINE
    leave.set()
    thread.join()
    assert state() == before
