"""The weighted neighbour vote against a NumPy loop, scikit-learn's neighbours and lightly's votes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from sslbench.errors import DataError
from sslbench.metrics import METRICS
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
    predictor = NearestNeighbours().learn(train, val, num_classes=4, metric=METRICS["top1"])
    bank = np.concatenate([train.x.double().numpy(), val.x.double().numpy()])
    targets = np.concatenate([train.targets, val.targets])
    expected = np.stack([votes(bank, targets, query, 4) for query in test.x.double().numpy()])
    decisions = predictor.decide(test.x)
    assert decisions.dtype == np.float64
    np.testing.assert_allclose(np.exp(decisions), expected, atol=1e-5)
    np.testing.assert_array_equal(decisions.argmax(axis=1), expected.argmax(axis=1))
    assert predictor.hyperparameters == {"k": 20, "temperature": 0.07}


def test_validation_is_decided_by_train_alone() -> None:
    train, val = labelled(70, 4, 1), labelled(30, 4, 2)
    predictor = NearestNeighbours().learn(train, val, num_classes=4, metric=METRICS["top1"])
    assert predictor.validation is not None
    decision, targets = predictor.validation
    bank = train.x.double().numpy()
    expected = np.stack([votes(bank, train.targets, query, 4) for query in val.x.double().numpy()])
    np.testing.assert_allclose(np.exp(decision), expected, atol=1e-5)
    assert targets.tolist() == val.targets.tolist()


def test_too_few_training_pictures_decide_no_validation() -> None:
    predictor = NearestNeighbours().learn(labelled(19, 4, 1), labelled(30, 4, 2), num_classes=4, metric=METRICS["top1"])
    assert predictor.validation is None


def test_scale_of_the_features_does_not_matter() -> None:
    train, val, test = labelled(50, 3, 1), labelled(10, 3, 2), labelled(20, 3, 3)
    plain = NearestNeighbours().learn(train, val, num_classes=3, metric=METRICS["top1"])
    scaled = NearestNeighbours().learn(Labelled(train.x * 8, train.targets), val, num_classes=3, metric=METRICS["top1"])
    np.testing.assert_allclose(plain.decide(test.x), scaled.decide(test.x / 4), atol=1e-4)


@pytest.mark.parametrize(("least", "rows"), [(1, 1), (1, 7), (1, 40), (16, 3)])
def test_chunking_changes_nothing(least: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train, val, test = labelled(60, 3, 1), labelled(10, 3, 2), labelled(40, 3, 3)
    predictor = NearestNeighbours().learn(train, val, num_classes=3, metric=METRICS["top1"])
    whole = predictor.decide(test.x)
    monkeypatch.setattr(knn, "CHUNK_ROWS", least)
    monkeypatch.setattr(knn, "CHUNK_BYTES", 4 * (70 + 8) * rows)
    np.testing.assert_allclose(predictor.decide(test.x), whole, atol=1e-4)


def test_no_more_similarities_are_held_than_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    held = []

    def watched(values: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        held.append((values.shape, values.data_ptr()))
        return values.topk(count, dim=1)

    monkeypatch.setattr(knn, "largest", watched)
    monkeypatch.setattr(knn, "CHUNK_ROWS", 4)
    monkeypatch.setattr(knn, "CHUNK_BYTES", 4 * (70 + 8) * 16)
    predictor = NearestNeighbours().learn(labelled(60, 3, 1), labelled(10, 3, 2), num_classes=3, metric=METRICS["top1"])
    predictor.decide(labelled(40, 3, 3).x)
    assert [shape for shape, _ in held] == [(14, 70), (14, 70), (12, 70)]
    assert len({where for _, where in held}) == 1


# 2,560 columns are the first that are searched by blocks, 20,480 the first whose blocks are.
@pytest.mark.parametrize("columns", [20, 21, 2559, 2560, 2561, 3001, 20_479, 20_487, 164_007])
@pytest.mark.parametrize("kind", ["spread", "tied", "rising", "falling"])
def test_the_largest_are_those_of_a_sort(columns: int, kind: str) -> None:
    rng = np.random.default_rng(columns)
    values = rng.normal(size=(6, columns)).astype(np.float32)
    if kind == "tied":
        values = values.round()
    elif kind != "spread":
        values = np.sort(values)[:, :: 1 if kind == "rising" else -1].copy()
    found, where = knn.largest(torch.from_numpy(values), 20)
    np.testing.assert_array_equal(found.numpy(), -np.sort(-values)[:, :20])
    np.testing.assert_array_equal(np.take_along_axis(values, where.numpy(), axis=1), found.numpy())
    assert all(len(set(row)) == 20 for row in where.tolist())
    if kind != "tied":
        np.testing.assert_array_equal(where.numpy(), np.argsort(-values, kind="stable")[:, :20])


def test_rows_of_a_larger_matrix_are_searched_where_they_lie() -> None:
    matrix = torch.randn(40, 5003, generator=torch.Generator().manual_seed(0))
    part = matrix[3:30, 100:4900]
    for got, expected in zip(knn.largest(part, 20), part.topk(20, dim=1), strict=True):
        assert torch.equal(got, expected)


def test_a_large_bank_gives_scikit_learns_neighbours_and_lightlys_votes() -> None:
    # Here, because it takes a second to import.
    from lightly.utils.benchmarking import knn_predict

    train, val, test = labelled(4000, 5, 1, dim=16), labelled(1003, 5, 2, dim=16), labelled(200, 5, 3, dim=16)
    # One row many times: similarities that are equal, in blocks of their own and of others.
    train.x[::50] = train.x[0]
    train.targets[::50] = train.targets[0]
    decisions = NearestNeighbours().learn(train, val, num_classes=5, metric=METRICS["top1"]).decide(test.x)
    bank, targets = torch.cat([train.x, val.x]), np.concatenate([train.targets, val.targets])
    distance, index = (
        NearestNeighbors(n_neighbors=20, algorithm="brute", metric="cosine")
        .fit(bank.double().numpy())
        .kneighbors(test.x.double().numpy())
    )
    weights = np.exp((1 - distance) / 0.07)
    shares = np.stack([(weights * (targets[index] == label)).sum(1) for label in range(5)], axis=1)
    np.testing.assert_allclose(np.exp(decisions), shares / shares.sum(1, keepdims=True), atol=1e-4)
    bank, queries = (torch.nn.functional.normalize(x) for x in (bank, test.x))
    ranked = knn_predict(queries, bank.T, torch.from_numpy(targets), num_classes=5, knn_k=20, knn_t=0.07)
    np.testing.assert_array_equal(decisions.argmax(axis=1), ranked[:, 0].numpy())


def test_no_query_gives_no_decision() -> None:
    predictor = NearestNeighbours().learn(labelled(60, 3, 1), labelled(10, 3, 2), num_classes=3, metric=METRICS["top1"])
    assert predictor.decide(torch.empty(0, 8)).shape == (0, 3)


def test_float16_features_vote_as_their_float32_copies() -> None:
    train, val, test = (
        Labelled(part.x.half(), part.targets) for part in (labelled(60, 3, 1), labelled(10, 3, 2), labelled(20, 3, 3))
    )
    single = [Labelled(part.x.float(), part.targets) for part in (train, val)]
    expected = NearestNeighbours().learn(*single, num_classes=3, metric=METRICS["top1"]).decide(test.x.float())
    got = NearestNeighbours().learn(train, val, num_classes=3, metric=METRICS["top1"]).decide(test.x)
    np.testing.assert_array_equal(got, expected)


def test_fitting_leaves_the_features_alone() -> None:
    train, val = labelled(60, 3, 1), labelled(10, 3, 2)
    before = train.x.clone(), val.x.clone()
    NearestNeighbours().learn(train, val, num_classes=3, metric=METRICS["top1"]).decide(val.x)
    assert torch.equal(train.x, before[0]) and torch.equal(val.x, before[1])


def test_a_class_without_a_vote_stays_finite_and_last() -> None:
    train, val = labelled(40, 2, 1), labelled(10, 2, 2)
    decisions = NearestNeighbours().learn(train, val, num_classes=3, metric=METRICS["top1"]).decide(val.x)
    assert np.isfinite(decisions).all()
    assert (decisions[:, 2] == decisions.min(axis=1)).all()


def test_a_bank_smaller_than_k_is_refused() -> None:
    with pytest.raises(DataError, match="at least 20 training images, got 19"):
        NearestNeighbours().check_targets(np.zeros(12, int), np.zeros(7, int), ("a",))
    NearestNeighbours().check_targets(np.zeros(12, int), np.zeros(8, int), ("a",))


def test_a_variant_is_refused() -> None:
    with pytest.raises(DataError, match="no variant '5'"):
        NearestNeighbours("5")


def test_the_nearest_pictures_are_scikit_learns_by_their_rows_in_train_and_val() -> None:
    train, val, test = labelled(70, 4, 1), labelled(30, 4, 2), labelled(40, 4, 3)
    # Of 75 and 33 pictures some could not be read.
    rows = [np.delete(np.arange(75), [0, 9, 20, 41, 74]), np.delete(np.arange(33), [3, 4, 30])]
    train, val = replace(train, rows=rows[0], pictures=75), replace(val, rows=rows[1], pictures=33)
    decisions, told = NearestNeighbours().learn(train, val, num_classes=4, metric=METRICS["top1"]).explain(test.x)
    distance, index = (
        NearestNeighbors(n_neighbors=5, algorithm="brute", metric="cosine")
        .fit(torch.cat([train.x, val.x]).double().numpy())
        .kneighbors(test.x.double().numpy())
    )
    np.testing.assert_array_equal(told["neighbours"], np.concatenate([rows[0], 75 + rows[1]])[index])
    np.testing.assert_allclose(told["neighbour_similarity"], 1 - distance, atol=1e-3)
    assert (told["neighbours"].dtype, told["neighbour_similarity"].dtype) == (np.int32, np.float16)
    predictor = NearestNeighbours().learn(train, val, num_classes=4, metric=METRICS["top1"])
    np.testing.assert_array_equal(decisions, predictor.decide(test.x))
    plain = NearestNeighbours().learn(*map(without_rows, (train, val)), num_classes=4, metric=METRICS["top1"])
    np.testing.assert_array_equal(plain.explain(test.x)[1]["neighbours"], index)


def without_rows(part: Labelled) -> Labelled:
    return Labelled(part.x, part.targets)
