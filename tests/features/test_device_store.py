"""The store: memory, then disk, then extraction; the least recently used leaves first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sslbench.backbones.backbone import Backbone
from sslbench.config import Settings
from sslbench.datasets import Images
from sslbench.features.device_store import FeatureStore

MakeBackbone = Callable[..., Backbone]
MakeSource = Callable[..., Images]


def test_memory_then_disk_then_extraction(tmp_path: Path, make_backbone: MakeBackbone, make_source: MakeSource) -> None:
    settings = Settings(cache_dir=tmp_path, device="cpu", batch_size=4)
    backbone, source = make_backbone(), make_source(10)
    store = FeatureStore(settings)
    first = store.get(backbone, source)
    assert backbone.network.batches == [4, 4, 2]
    assert first.seconds > 0
    held = store.get(backbone, source)
    assert held.x is first.x
    assert held.seconds == 0
    fresh = FeatureStore(settings).get(backbone, source)
    assert fresh.seconds == 0
    assert fresh.x.equal(first.x)
    np.testing.assert_array_equal(fresh.rows, first.rows)
    assert len(backbone.network.batches) == 3


def test_bfloat16_features_are_extracted_apart(
    tmp_path: Path, make_backbone: MakeBackbone, make_source: MakeSource
) -> None:
    backbone, source = make_backbone(), make_source(4)
    full = FeatureStore(Settings(cache_dir=tmp_path, device="cpu")).get(backbone, source)
    half = FeatureStore(Settings(cache_dir=tmp_path, device="cpu", dtype="bfloat16")).get(backbone, source)
    assert half.seconds > 0
    assert not half.x.equal(full.x)


def test_the_least_recently_used_leaves_first(
    tmp_path: Path, make_backbone: MakeBackbone, make_source: MakeSource
) -> None:
    backbone = make_backbone()
    a, b, c = (make_source(10, seed=seed) for seed in range(3))
    each = 10 * 8 * 4
    store = FeatureStore(Settings(cache_dir=tmp_path, device="cpu"), capacity=2 * each)
    held_a, held_b = store.get(backbone, a).x, store.get(backbone, b).x
    assert store.get(backbone, a).x is held_a  # now b is the older one
    held_c = store.get(backbone, c).x
    assert store.get(backbone, a).x is held_a
    assert store.get(backbone, c).x is held_c
    reloaded = store.get(backbone, b).x
    assert reloaded is not held_b
    assert reloaded.equal(held_b)


def test_features_larger_than_the_capacity_are_held_alone(
    tmp_path: Path, make_backbone: MakeBackbone, make_source: MakeSource
) -> None:
    store = FeatureStore(Settings(cache_dir=tmp_path, device="cpu"), capacity=1)
    backbone, a, b = make_backbone(), make_source(4, seed=0), make_source(4, seed=1)
    held = store.get(backbone, a).x
    assert store.get(backbone, a).x is held
    store.get(backbone, b)
    assert store.get(backbone, a).x is not held
