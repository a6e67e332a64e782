"""Backbones by a checkpoint's name, end to end at full size, against torchvision's own network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from sslbench.api import extract
from sslbench.backbones import load_backbone
from sslbench.backbones.checkpoints import CHECKPOINTS, checkpoint_spec
from sslbench.backbones.checkpoints.load import fetched_file
from sslbench.backbones.preprocessing import presets
from sslbench.config import Settings
from sslbench.errors import BackboneError
from sslbench.runner import Runner

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def cache(full_state: State, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache with SwAV's, SimCLR's and BYOL's networks in it, all with the same weights."""
    root = tmp_path_factory.mktemp("cache")
    files = root / "checkpoints" / "files"
    files.mkdir(parents=True)
    head = {"module.prototypes.weight": torch.rand(3000, 128)}
    torch.save({**{f"module.{k}": v for k, v in full_state.items()}, **head}, files / "swav_800ep_pretrain.pth.tar")
    torch.save({"state_dict": full_state}, files / "resnet50-1x.pth")
    yield root
    for path in (root / "checkpoints").rglob("*"):
        if path.is_file():
            path.unlink()


@pytest.fixture(scope="module")
def reference(full_state: State) -> nn.Module:
    network = torchvision.models.resnet50()
    network.fc = nn.Identity()
    network.load_state_dict(full_state)
    return network.eval()


@pytest.fixture
def pictures() -> Tensor:
    return torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_swav_is_torchvisions_network_with_these_weights(cache: Path, reference: nn.Module, pictures: Tensor) -> None:
    file = cache / "checkpoints" / "files" / "swav_800ep_pretrain.pth.tar"
    by_file = load_backbone("swav", checkpoint=str(file), cache_dir=cache)
    expected = reference(pictures)
    assert expected.std() > 1e-3
    torch.testing.assert_close(by_file.embed(pictures), expected)
    by_name = load_backbone("swav", cache_dir=cache)
    torch.testing.assert_close(by_name.embed(pictures), expected)
    assert by_name.digest == by_file.digest
    assert by_name.name == "swav"
    assert by_name.preprocessing == presets()["paper"]
    (converted,) = (cache / "checkpoints").glob("swav-*.safetensors")
    details = dict(by_name.details)
    assert details["source"] == "checkpoint:swav"
    assert details["arch"] == "resnet50"
    assert details["file"] == file.name
    assert converted.stem == f"swav-{details['sha256'][:16]}"
    assert details["checksum"] == "pinned on first use"
    assert details["dropped"] == ["module.prototypes.weight"]
    assert details["licence"] == "CC-BY-NC-4.0"
    assert details["epochs"] == 800
    assert "padding" not in details
    # The strides of a ResNet on 96 pixels.
    assert [tuple(m.shape[1:]) for m in by_name.feature_maps(pictures)] == [
        (256, 24, 24), (512, 12, 12), (1024, 6, 6), (2048, 3, 3)
    ]  # fmt: skip


def test_the_environment_names_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLBENCH_CACHE", str(cache))
    assert load_backbone("swav").details["source"] == "checkpoint:swav"


def test_a_run_looks_in_its_own_cache(cache: Path) -> None:
    settings = Settings(cache_dir=cache, device="cpu")
    assert Runner(settings).backbone("swav").details["source"] == "checkpoint:swav"
    x, targets = extract("swav?size=32", "digits", "test", settings=settings)
    assert x.shape == (len(targets), 2048)


def test_options(cache: Path, pictures: Tensor) -> None:
    small = load_backbone("swav?size=96&pooling=avg", cache_dir=cache)
    assert small.preprocessing.input_size == (96, 96)
    assert small.preprocessing.resize == 96
    assert small.preprocessing.mean == presets()["paper"].mean
    assert small.pooling == "avg"
    other = load_backbone("swav?preprocessing=paper-nonorm", cache_dir=cache)
    assert other.preprocessing == presets()["paper-nonorm"]
    with pytest.raises(BackboneError, match="give preprocessing or size, not both"):
        load_backbone("swav?size=96&preprocessing=paper", cache_dir=cache)
    with pytest.raises(BackboneError, match="unknown option padding"):
        load_backbone("swav?padding=same", cache_dir=cache)


def test_simclr_takes_pictures_without_normalisation_and_pads_on_request(cache: Path, pictures: Tensor) -> None:
    plain = load_backbone("simclr-v1", cache_dir=cache)
    assert plain.preprocessing == presets()["paper-nonorm"]
    assert plain.details["padding"] == "torch"
    assert plain.details["file"] == "resnet50-1x.pth"
    stock = load_backbone("simclr-v1?padding=torch", cache_dir=cache)
    same = load_backbone("simclr-v1?padding=same", cache_dir=cache)
    assert same.details["padding"] == "same"
    assert plain.digest == stock.digest != same.digest
    assert plain.digest == load_backbone("swav", cache_dir=cache).digest
    assert not torch.allclose(plain.embed(pictures), same.embed(pictures))
    assert same.network.module.state_dict().keys() == plain.network.module.state_dict().keys()
    with pytest.raises(BackboneError, match=r"padding takes torch .* or same .*, got 'valid'"):
        load_backbone("simclr-v1?padding=valid", cache_dir=cache)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_an_absent_file_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(BackboneError) as raised:
        load_backbone(name, cache_dir=tmp_path)
    message = str(raised.value)
    assert f"sslbench fetch --backbone {name}." in message
    assert f"load_backbone('{name}', checkpoint=FILE)" in message
    assert f"sslbench convert FILE --as {name}" in message
    assert str(tmp_path / "checkpoints" / "files") in message
    assert re.search(r"By hand: .*https://", message)


def test_fetched_files_are_found_in_order_of_preference(tmp_path: Path) -> None:
    spec = checkpoint_spec("simclr-v2")
    files = tmp_path / "files"
    files.mkdir()
    assert fetched_file(spec, tmp_path) is None
    index, data = (files / source.filename for source in spec.sources)
    index.touch()
    assert fetched_file(spec, tmp_path) is None
    (files / "r50_1x_sk0.pth").touch()
    assert fetched_file(spec, tmp_path) == files / "r50_1x_sk0.pth"
    data.touch()
    assert fetched_file(spec, tmp_path) == index


def test_a_fetched_file_that_is_not_the_pinned_one(cache: Path, tmp_path: Path, full_state: State) -> None:
    load_backbone("swav", cache_dir=cache)
    other = tmp_path / "other.pth"
    torch.save({f"module.{k}": v for k, v in full_state.items() if "num_batches" not in k}, other)
    with pytest.raises(BackboneError, match="not the file that was used first"):
        load_backbone("swav", checkpoint=str(other), cache_dir=cache)
    other.unlink()


def test_a_network_by_name_outlives_its_file(cache: Path, full_state: State, tmp_path: Path) -> None:
    torch.save(full_state, tmp_path / "w")
    load_backbone("vicreg", checkpoint=str(tmp_path / "w"), cache_dir=cache)
    (tmp_path / "w").unlink()
    assert load_backbone("vicreg", cache_dir=cache).details["file"] == "w"
    with pytest.raises(BackboneError, match="there is no checkpoint file"):
        load_backbone("vicreg", checkpoint=str(tmp_path / "w"), cache_dir=cache)


def test_another_architecture_still_takes_a_file(tmp_path: Path, full_state: State) -> None:
    torch.save(full_state, tmp_path / "w")
    backbone = load_backbone("resnet50", checkpoint=str(tmp_path / "w"), cache_dir=tmp_path)
    assert backbone.details["source"] == "file:w"
    assert not (tmp_path / "checkpoints").exists()
    (tmp_path / "w").unlink()
