from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sslbench.analyses.noise_dial import noise_dial
from sslbench.datasets import Boxes, Labels
from sslbench.errors import DataError
from sslbench.protocols.base import Labelled

CLASSES = 4


def material(counts: dict[str, int], **dataset: object) -> SimpleNamespace:
    """Features of classes that lie apart, each column on a scale of its own."""
    rng = np.random.default_rng(3)
    middles, scale = rng.normal(size=(CLASSES, 12)), np.geomspace(0.1, 10, 12)
    splits = {}
    for name, count in counts.items():
        targets = np.arange(count) % CLASSES
        x = (middles[targets] + rng.normal(size=(count, 12))) * scale
        splits[name] = Labelled(torch.from_numpy(x.astype(np.float32)), targets)
    described = SimpleNamespace(
        name="toy", classes=tuple("abcd"), **{"metric": "top1", "target_type": Labels, **dataset}
    )
    return SimpleNamespace(dataset=described, split=splits.__getitem__)


def vote(bank: np.ndarray, labels: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The weighted vote of 20 neighbours, picture by picture."""
    bank = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    told = []
    for query in queries:
        similar = bank @ (query / np.linalg.norm(query))
        nearest = np.argsort(-similar)[:20]
        weights = np.exp(similar[nearest] / 0.07)
        told.append(np.argmax(np.bincount(labels[nearest], weights, minlength=CLASSES)))
    return np.array(told)


def test_each_step_is_the_vote_on_features_with_that_much_of_one_noise() -> None:
    counts = {"train": 200, "val": 40, "test": 400}
    toy = material(counts)
    steps = noise_dial(toy, (0.0, 1.0, 5.0), seed=7)
    bank = np.concatenate([toy.split(name).x.numpy() for name in ("train", "val")]).astype(np.float64)
    labels = np.concatenate([toy.split(name).targets for name in ("train", "val")])
    test = toy.split("test")
    x = test.x.numpy().astype(np.float64)
    noise = np.random.default_rng(7).standard_normal(x.shape, dtype=np.float32) * x.std(axis=0)
    for step in steps:
        expected = 100 * np.mean(vote(bank, labels, x + step.level * noise) == test.targets)
        # A tie of two classes may fall the other way in single precision.
        assert step.score.value == pytest.approx(expected, abs=0.51), step.level
    assert steps[0].score.value > 60 > steps[2].score.value


def test_much_noise_leaves_guessing() -> None:
    (step,) = noise_dial(material({"train": 400, "val": 40, "test": 4000}), (1e4,))
    assert step.score.value == pytest.approx(100 / CLASSES, abs=4 * step.score.stderr)


def test_a_dataset_without_classes_is_refused() -> None:
    with pytest.raises(DataError, match="expected a dataset with classes, got boxes"):
        noise_dial(material({"train": 40, "val": 8, "test": 8}, metric=None, target_type=Boxes))
