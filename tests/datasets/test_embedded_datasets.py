"""The embedded world as datasets: targets and shared images. Nothing is rendered but a handful of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from sslbench.datasets import list_datasets, load_dataset
from sslbench.datasets.embedded._world_sets import SIZES

DENSE = ["world-boxes", "world-depth", "world-masks", "world-normals"]
WORLDS = ["world-shape", "world-colour", "world-texture", "world-count", "world-objects"]


def fingerprints(name: str) -> dict[str, str]:
    return {split: rows.images.fingerprint for split, rows in load_dataset(name).splits.items()}


def test_these_are_all() -> None:
    assert sorted(WORLDS + DENSE) == list_datasets("world-*")


@pytest.mark.parametrize("name", WORLDS)
def test_targets_are_in_range_and_balanced(name: str) -> None:
    dataset = load_dataset(name)
    for split in dataset.splits.values():
        assert split.targets.values.dtype == np.int64
        counts = np.bincount(split.targets.values, minlength=len(dataset.classes))
        assert len(counts) == len(dataset.classes)
        assert counts.min() > 0
        assert counts.max() <= 1.2 * counts.mean() + 1


def test_the_three_single_tasks_share_their_images() -> None:
    assert fingerprints("world-shape") == fingerprints("world-colour") == fingerprints("world-texture")


def test_other_images_have_other_fingerprints() -> None:
    prints: list[str] = []
    for name in ("world-shape", "world-count", "world-objects"):
        prints += fingerprints(name).values()
    assert len(prints) == len(set(prints)) == 9


def test_datasets_on_shared_images_still_differ() -> None:
    assert len({load_dataset(name).fingerprint for name in WORLDS + DENSE}) == len(WORLDS + DENSE)


def test_the_single_tasks_ask_for_independent_attributes() -> None:
    shape, colour, texture = (load_dataset(name).splits["train"].targets.values for name in WORLDS[:3])
    for first, second in ((shape, colour), (shape, texture), (colour, texture)):
        joint = np.histogram2d(first, second, bins=(8, 8))[0] / len(first)
        assert np.abs(joint - 1 / 64).max() < 0.02


def test_objects_suffice_for_fifty_shots_and_fifteen_queries() -> None:
    splits = load_dataset("world-objects").splits.values()
    pooled = np.concatenate([split.targets.values for split in splits])
    assert np.bincount(pooled, minlength=64).min() >= 65
    assert len(pooled) == sum(SIZES["objects"].values())
