"""Perceptual distances: against torchmetrics called directly, and what is said where a network is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

from sslbench.protocols import _inversion_lpips
from sslbench.protocols._inversion_lpips import perceptual_distances, ready

pytestmark = pytest.mark.usefixtures("one_thread", "no_sockets")
FILE = "squeezenet1_1-b8a52dc0.pth"


def pictures(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder, empty."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def put(folder: Path) -> None:
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), folder / FILE)


def test_networks_that_are_not_there_are_told_and_nothing_is_fetched(checkpoints: Path) -> None:
    found, states = perceptual_distances(pictures(0), pictures(1), "cpu")
    assert found == {} and ready() == []
    assert states["lpips_squeezenet"].startswith(
        f"manual: put {FILE} (https://download.pytorch.org/models/{FILE}) into"
    )
    assert "alexnet-owt-7be5be79.pth" in states["lpips_alexnet"] and "vgg16-397923af.pth" in states["lpips_vgg"]
    assert not list(checkpoints.iterdir())


def test_distances_are_those_of_torchmetrics(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(checkpoints)
    # Random weights are nobody's published ones.
    monkeypatch.setattr(_inversion_lpips, "_published", lambda path, size, changed: True)
    one, other = pictures(0), pictures(1)
    found, states = perceptual_distances(one, other.astype(np.float32), "cpu")
    assert list(found) == ready() == ["lpips_squeezenet"] and states["lpips_squeezenet"] == "ready"
    tensors = [torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255 for x in (one, other)]
    expected = learned_perceptual_image_patch_similarity(*tensors, "squeeze", reduction="none", normalize=True)
    np.testing.assert_allclose(found["lpips_squeezenet"], expected.numpy(), rtol=1e-4)
    assert (found["lpips_squeezenet"] > 0).all()


def test_another_file_of_that_name_is_not_used(checkpoints: Path) -> None:
    put(checkpoints)
    found, states = perceptual_distances(pictures(0), pictures(1), "cpu")
    assert found == {} and f"{FILE} in torch.hub's folder" in states["lpips_squeezenet"]
    assert "is not the published file; replace it" in states["lpips_squeezenet"]


def test_the_extra_is_named_where_it_is_missing(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str, package: Any = None) -> Any:
        return None if name == "torchmetrics" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    _, states = perceptual_distances(pictures(0), pictures(1), "cpu")
    assert set(states.values()) == {"manual: pip install 'sslbench[inversion]'"}
