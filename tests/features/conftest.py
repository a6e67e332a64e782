"""A small backbone and a source of random pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sslbench.backbones.backbone import Backbone, Network
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.datasets import ImageArray
from sslbench.features import original_keeping
from sslbench.features.original_loading import OriginalLoader
from sslbench.features.pictures import Pictures


class SmallNetwork(Network):
    """Convolution, BatchNorm and mean; with `poison`, pictures whose first pixel is 255 embed to NaN."""

    def __init__(self, seed: int = 0, poison: bool = False) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
            self.module[1].running_mean.normal_()
        self.poison = poison
        self.batches: list[int] = []

    def embed(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        pooled = self.module(images).mean(dim=(2, 3))
        if self.poison:
            pooled = torch.where(images[:, 0, 0, 0, None] == 1.0, torch.nan, pooled)
        return pooled

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [self.module(images)]


@pytest.fixture
def make_backbone() -> Callable[..., Backbone]:
    def make(seed: int = 0, poison: bool = False) -> Backbone:
        preprocessing = Preprocessing(input_size=(16, 16), resize=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        return Backbone(f"small-{seed}", SmallNetwork(seed, poison), preprocessing, recipe="small")

    return make


@pytest.fixture
def make_source() -> Callable[..., ImageArray]:
    def make(count: int = 10, seed: int = 0, white: int | None = None) -> ImageArray:
        images = np.random.default_rng(seed).integers(0, 255, size=(count, 16, 16, 3), dtype=np.uint8)
        if white is not None:
            images[white, 0, 0] = 255
        return ImageArray(f"random:{seed}:{count}:{white}", images)

    return make


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that were decoded, in whatever order."""
    rows: list[int] = []
    real = OriginalLoader.load

    def load(self: OriginalLoader, row: int) -> torch.Tensor | None:
        rows.append(row)
        return real(self, row)

    monkeypatch.setattr(OriginalLoader, "load", load)
    monkeypatch.setattr(original_keeping, "_estimate", lambda loader, count: 1)
    return rows


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "kept", 1 << 20)
