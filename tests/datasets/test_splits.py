"""Stratified splits."""

from __future__ import annotations

import numpy as np
import pytest

from sslbench.datasets.splits import stratified


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
