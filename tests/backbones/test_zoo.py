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
