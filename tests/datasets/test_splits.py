"""Stratified splits, and the study's random validation split against vectors drawn with the official calls."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from sslbench.datasets.splits import stratified, study_validation


def labels(*sizes: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int64)


@pytest.mark.parametrize("sizes", [(3, 3), (3, 4, 5, 100), (10, 10, 10), (7, 300)])
@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.2), (0.8, 0.2), (0.98, 0.01, 0.01), (0.01, 0.01, 0.98)])
def test_every_class_in_every_part_and_every_row_once(sizes: tuple[int, ...], fractions: tuple[float, ...]) -> None:
    targets = labels(*sizes)
    parts = stratified(targets, fractions, 0)
    assert len(parts) == len(fractions)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(targets)))
    for part, fraction in zip(parts, fractions, strict=True):
        counts = np.bincount(targets[part], minlength=len(sizes))
        assert (counts >= 1).all()
        assert (np.abs(counts - fraction * np.array(sizes)) <= 2).all()
        np.testing.assert_array_equal(part, np.sort(part))


def test_a_function_of_targets_and_seed_only() -> None:
    targets = labels(20, 30)
    first = stratified(targets, (0.6, 0.4), 0)
    np.random.seed(5)
    for a, b in zip(first, stratified(targets.copy(), (0.6, 0.4), 0), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], stratified(targets, (0.6, 0.4), 1)[0])


def test_a_class_with_fewer_rows_than_parts_is_kept_somewhere() -> None:
    targets = labels(1, 2, 30)
    parts = stratified(targets, (0.6, 0.2, 0.2), 0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(33))
    assert {0, 1, 2} <= set(targets[parts[0]].tolist())


# Rows of the official training list, size of the validation split, its first eight rows as drawn, and the first digits
# of the sha256 of its sorted rows as compact JSON.
STUDY = {
    "caltech101 of 2021": (3060, 612, [465, 1646, 1504, 1014, 1371, 874, 2899, 2044], "df13ab850bb287e6"),
    "caltech101 unique": (2416, 483, [966, 557, 148, 1917, 1585, 985, 215, 390], "2d72195e39c286ac"),
    "cars": (8144, 1628, [5863, 6459, 1817, 6716, 39, 7281, 2604, 454], "a7d0e0b3928e0107"),
    "cifar": (50000, 10000, [11841, 19602, 45519, 25747, 42642, 31902, 30346, 12363], "fa474a38afc55b30"),
    "food": (75750, 15150, [56751, 28998, 59534, 55337, 28043, 15071, 9633, 73371], "c8ea468986fa81b3"),
    "pets": (3680, 736, [482, 3599, 2198, 3251, 796, 2420, 2514, 2568], "d3c15f6027308054"),
    "sun397": (19850, 3970, [5416, 13506, 8368, 11759, 2839, 9782, 11457, 16984], "d1413b9fff71a4aa"),
}


@pytest.mark.parametrize("name", STUDY)
def test_the_study_validation_split_equals_the_official_draw(name: str) -> None:
    size, held_out, first, sha256 = STUDY[name]
    train, val = study_validation(size)
    assert (len(train), len(val)) == (size - held_out, held_out)
    assert val[:8].tolist() == first
    text = json.dumps(sorted(val.tolist()), separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == sha256
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(size))


@pytest.mark.parametrize("size", [0, 1, 4, 5, 9, 10, 101])
def test_the_study_validation_split_equals_a_shuffled_list(size: int) -> None:
    indices = list(range(size))
    state = np.random.get_state()
    np.random.seed(0)
    np.random.shuffle(indices)
    np.random.set_state(state)
    train, val = study_validation(size)
    cut = int(np.floor(0.2 * size))
    assert (val.tolist(), train.tolist()) == (indices[:cut], indices[cut:])


def test_the_study_validation_split_leaves_the_global_generator_alone() -> None:
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    study_validation(100)
    assert np.random.random() == expected
