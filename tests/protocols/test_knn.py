"""The weighted neighbour vote against a NumPy loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sslbench.errors import DataError
from sslbench.metrics.classification import top1
from sslbench.protocols import knn
from sslbench.protocols.base import Labelled
from sslbench.protocols.knn import NearestNeighbours


def labelled(count: int, classes: int, seed: int, dim: int = 8) -> Labelled:
    rng = np.random.default_rng(seed)
    targets = rng.integers(classes, size=count)
    return Labelled(torch.from_numpy(rng.normal(size=(count, dim)) + targets[:, None]).float(), targets)


def votes(bank: np.ndarray, targets: np.ndarray, query: np.ndarray, classes: int) -> np.ndarray:
    similarity = [float(query @ row / np.linalg.norm(query) / np.linalg.norm(row)) for row in bank]
    share = np.zeros(classes)
    for index in sorted(range(len(bank)), key=lambda i: -similarity[i])[:20]:
        share[targets[index]] += np.exp(similarity[index] / 0.07)
    return share / share.sum()


def test_equals_a_brute_force_vote() -> None:
    train, val, test = labelled(70, 4, 1), labelled(30, 4, 2), labelled(40, 4, 3)
    predictor = NearestNeighbours().fit(train, val, num_classes=4, metric=top1)
    bank = np.concatenate([train.x.double().numpy(), val.x.double().numpy()])
    targets = np.concatenate([train.targets, val.targets])
    expected = np.stack([votes(bank, targets, query, 4) for query in test.x.double().numpy()])
    decisions = predictor.decide(test.x)
    assert decisions.dtype == np.float64
    np.testing.assert_allclose(np.exp(decisions), expected, atol=1e-5)
    np.testing.assert_array_equal(decisions.argmax(axis=1), expected.argmax(axis=1))
    assert predictor.hyperparameters == {"k": 20, "temperature": 0.07}


def test_scale_of_the_features_does_not_matter() -> None:
    train, val, test = labelled(50, 3, 1), labelled(10, 3, 2), labelled(20, 3, 3)
    plain = NearestNeighbours().fit(train, val, num_classes=3, metric=top1)
    scaled = NearestNeighbours().fit(Labelled(train.x * 8, train.targets), val, num_classes=3, metric=top1)
    np.testing.assert_allclose(plain.decide(test.x), scaled.decide(test.x / 4), atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_chunking_changes_nothing(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train, val, test = labelled(60, 3, 1), labelled(10, 3, 2), labelled(40, 3, 3)
    predictor = NearestNeighbours().fit(train, val, num_classes=3, metric=top1)
    whole = predictor.decide(test.x)
    monkeypatch.setattr(knn, "CHUNK", chunk)
    np.testing.assert_allclose(predictor.decide(test.x), whole, atol=1e-4)


def test_a_class_without_a_vote_stays_finite_and_last() -> None:
    train, val = labelled(40, 2, 1), labelled(10, 2, 2)
    decisions = NearestNeighbours().fit(train, val, num_classes=3, metric=top1).decide(val.x)
    assert np.isfinite(decisions).all()
    assert (decisions[:, 2] == decisions.min(axis=1)).all()


def test_a_bank_smaller_than_k_is_refused() -> None:
    with pytest.raises(DataError, match="at least 20 training images, got 19"):
        NearestNeighbours().fit(labelled(12, 2, 1), labelled(7, 2, 2), num_classes=2, metric=top1)
    NearestNeighbours().fit(labelled(12, 2, 1), labelled(8, 2, 2), num_classes=2, metric=top1)


def test_a_variant_is_refused() -> None:
    with pytest.raises(DataError, match="no variant '5'"):
        NearestNeighbours("5")
