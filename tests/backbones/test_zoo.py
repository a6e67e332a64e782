"""The zoo: what ships is sound, and what is damaged is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from sslbench.backbones import expand_backbones, list_backbones, load_backbone, register_backbone, zoo
from sslbench.backbones.zoo import check_weights, read_card, zoo_names
from sslbench.errors import BackboneError, UnknownNameError

OBJECTIVES = ("mae", "moco-v2", "simclr", "simclr-nocolour", "supervised", "swav", "vicreg")


def test_the_zoo_has_every_objective() -> None:
    assert zoo_names() == [f"zoo:{name}" for name in OBJECTIVES]
    assert expand_backbones(["zoo:*"]) == zoo_names()
    assert set(zoo_names()) <= set(list_backbones())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_shipped_backbone_is_small_sound_and_described(name: str) -> None:
    card = read_card(name)
    check_weights(card)
    assert card.weights.stat().st_size <= 1_500_000
    backbone = load_backbone(f"zoo:{name}")
    assert backbone.params <= 700_000
    assert backbone.preprocessing.input_size == (64, 64)
    assert backbone.preprocessing.to_json()["mean"] == card.facts["mean"]
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(backbone.embed(images)).all())
    assert all(maps.ndim == 4 for maps in backbone.feature_maps(images))
    for fact in ("objective", "source", "recipe", "data", "views", "budget", "training", "in_domain", "licence"):
        assert card.facts[fact], fact
    assert card.facts["training"]["last_loss"] < card.facts["training"]["first_loss"]
    trained, untrained = (card.facts["in_domain"][key]["value"] for key in ("linear_top1", "untrained_linear_top1"))
    assert trained > untrained


# The first four features of `pattern()` and the length of all, by the committed weights with torch 2.14.1, timm 1.0.31
# and an AVX2 CPU: so that a change of another version or machine shows before it moves a score.
GOLDEN = {
    "mae": (0.28633, -0.79498, -1.40876, 0.21553, 6.05052),
    "moco-v2": (0.12732, 0.91935, 0.42278, 0.15630, 7.54697),
    "simclr": (0.08079, 0.47402, 0.49877, 0.03212, 8.04960),
    "simclr-nocolour": (1.74818, 0.12198, 0.00000, 0.10476, 8.10851),
    "supervised": (0.81648, 0.06870, 0.00000, 3.05978, 15.94044),
    "swav": (0.30138, 0.00000, 0.59421, 0.14340, 7.12363),
    "vicreg": (0.00000, 0.38387, 0.71357, 0.00849, 5.83419),
}


def pattern() -> torch.Tensor:
    """(1, 3, 64, 64), independent of any random generator: waves of another length in each channel, and a chessboard."""
    rows, columns = torch.arange(64.0).view(1, 1, 64, 1), torch.arange(64.0).view(1, 1, 1, 64)
    waves = torch.sin(0.1 * rows * torch.arange(1.0, 4.0).view(1, 3, 1, 1)) + torch.cos(0.23 * columns)
    return waves + (rows // 8 + columns // 8) % 2 - 0.5


@pytest.mark.parametrize("name", OBJECTIVES)
def test_features_are_those_of_the_committed_weights(name: str) -> None:
    features = load_backbone(f"zoo:{name}").embed(pattern())[0]
    found = torch.cat([features[:4], features.norm()[None]])
    torch.testing.assert_close(found, torch.tensor(GOLDEN[name]), rtol=1e-3, atol=5e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_and_two_threads_agree(name: str) -> None:
    backbone = load_backbone(f"zoo:{name}")
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = backbone.embed(images)
        torch.set_num_threads(2)
        two = backbone.embed(images)
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def test_the_random_control_has_the_architecture_of_the_zoo() -> None:
    trained, control = load_backbone("zoo:mae"), load_backbone("random-init:zoo:mae")
    shapes = [{n: t.shape for n, t in b.network.module.state_dict().items()} for b in (trained, control)]
    assert shapes[0] == shapes[1]
    assert trained.digest != control.digest
    assert trained.preprocessing == control.preprocessing
    assert control.details["control"] is True


def test_options_of_a_name() -> None:
    assert load_backbone("zoo:mae?pooling=cls").embed(torch.rand(1, 3, 64, 64)).shape == (1, 64)
    with pytest.raises(BackboneError, match="unknown option size"):
        load_backbone("zoo:simclr?size=96")


def test_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown zoo backbone 'zoo:simclrv2'; nearest: zoo:simclr"):
        expand_backbones(["zoo:simclrv2"])
    with pytest.raises(UnknownNameError, match="zoo:simclr"):
        load_backbone("random-init:zoo:simclrv2")


def test_a_name_of_the_zoo_cannot_be_registered() -> None:
    with pytest.raises(BackboneError, match="already registered"):
        register_backbone("zoo:mae", lambda: None)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one backbone that a test may damage."""
    for suffix in ("json", "safetensors"):
        shutil.copy(zoo.FOLDER / f"simclr.{suffix}", tmp_path)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    return tmp_path


def test_damaged_weights_name_the_expected_digest(copied: Path) -> None:
    path = copied / "simclr.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    expected = read_card("simclr").sha256
    with pytest.raises(BackboneError, match=rf"damaged weights .*expected a file with SHA-256 {expected}, got"):
        load_backbone("zoo:simclr")


def test_missing_weights_name_the_expected_digest(copied: Path) -> None:
    (copied / "simclr.safetensors").unlink()
    expected = read_card("simclr").sha256
    with pytest.raises(BackboneError, match=rf"cannot read the weights .*expected a file with SHA-256 {expected}"):
        load_backbone("zoo:simclr")


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"arch": "test_resnet"})])
def test_a_damaged_card(copied: Path, content: str) -> None:
    (copied / "simclr.json").write_text(content)
    with pytest.raises(BackboneError, match=r"damaged card .*simclr\.json"):
        load_backbone("zoo:simclr")
