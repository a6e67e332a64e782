"""The cache on disk: hits, damage, atomic writes, two writers, a full and an unwritable disk."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sslbench.errors import CacheError, CacheWarning
from sslbench.features import cache as cache_module
from sslbench.features.cache import Arrays, DamagedFileError, FeatureCache, read, recipe_key

RECIPE: dict[str, Any] = {"backbone": "abc", "version": 1, "preprocessing": {"resize": 64, "mean": [0.5]}}


def arrays() -> Arrays:
    return {"x": np.arange(12, dtype=np.float32).reshape(4, 3), "rows": np.arange(4, dtype=np.int64)}


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return arrays()


def assert_equal(got: Arrays) -> None:
    expected = arrays()
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
        assert got[name].dtype == array.dtype


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path)


@pytest.fixture
def stored(cache: FeatureCache) -> Path:
    cache.get(RECIPE, arrays)
    return cache.path(RECIPE)


def test_a_hit_returns_equal_arrays_and_computes_nothing(cache: FeatureCache) -> None:
    compute = Counting()
    first, from_disk = cache.get(RECIPE, compute)
    assert not from_disk
    assert_equal(first)
    second, from_disk = cache.get(dict(reversed(RECIPE.items())), compute)
    assert from_disk
    assert_equal(second)
    assert compute.calls == 1


@pytest.mark.parametrize(
    "change",
    [{"backbone": "abd"}, {"version": 2}, {"preprocessing": {"resize": 65, "mean": [0.5]}}, {"extra": None}],
)
def test_any_change_of_the_recipe_changes_the_key(cache: FeatureCache, change: dict[str, Any]) -> None:
    compute = Counting()
    cache.get(RECIPE, compute)
    cache.get({**RECIPE, **change}, compute)
    assert compute.calls == 2
    assert recipe_key({**RECIPE, **change}) != recipe_key(RECIPE)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_last(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def other_format(path: Path) -> None:
    save_file(load_file(path), path, metadata={"format": "somebody-else"})


def no_metadata(path: Path) -> None:
    save_file(load_file(path), path)


def broken_recipe(path: Path) -> None:
    content = path.read_bytes()
    assert content.count(b'{\\"backbone') == 1
    path.write_bytes(content.replace(b'{\\"backbone', b'(\\"backbone'))


def renamed_recipe(path: Path) -> None:
    content = path.read_bytes()
    assert content.count(b'"recipe"') == 1
    path.write_bytes(content.replace(b'"recipe"', b'"recipf"'))


DAMAGES = [truncate, empty, flip_last, other_format, no_metadata, broken_recipe, renamed_recipe]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_reported_and_computed_again(
    cache: FeatureCache, stored: Path, damage: Callable[[Path], None]
) -> None:
    damage(stored)
    assert len(cache.verify()) == 1
    assert str(stored) in cache.verify()[0]
    compute = Counting()
    with pytest.warns(CacheWarning, match="damaged cache file.*computing it again"):
        got, from_disk = cache.get(RECIPE, compute)
    assert compute.calls == 1
    assert not from_disk
    assert_equal(got)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, from_disk = cache.get(RECIPE, compute)
    assert from_disk
    assert cache.verify() == []


def test_no_flipped_bit_gives_other_arrays(stored: Path) -> None:
    content = stored.read_bytes()
    damaged = 0
    for position in range(len(content)):
        altered = bytearray(content)
        altered[position] ^= 1 << position % 8
        stored.write_bytes(bytes(altered))
        try:
            got, _ = read(stored)
        except DamagedFileError:
            damaged += 1
        else:
            assert_equal(got)
    # Only bits of the recipe's text, which nobody computes with, and padding may pass.
    assert damaged > 0.6 * len(content)


@pytest.mark.parametrize("damage", [empty, other_format, broken_recipe, renamed_recipe])
def test_entries_list_a_file_whose_recipe_cannot_be_read(
    cache: FeatureCache, stored: Path, damage: Callable[[Path], None]
) -> None:
    damage(stored)
    (entry,) = cache.entries()
    assert entry.path == stored
    assert entry.recipe == {}


def test_entries_tell_recipe_and_size(cache: FeatureCache, stored: Path) -> None:
    (entry,) = cache.entries()
    assert entry.recipe == RECIPE
    assert entry.bytes == stored.stat().st_size
    assert read(stored)[1] == RECIPE


def test_a_leftover_of_an_interrupted_writer_is_ignored(cache: FeatureCache) -> None:
    path = cache.path(RECIPE)
    path.parent.mkdir(parents=True)
    leftover = path.parent / f"{path.stem[:8]}abc.tmp"
    leftover.write_bytes(b"half a file")
    got, from_disk = cache.get(RECIPE, arrays)
    assert not from_disk
    assert_equal(got)
    assert cache.leftovers() == [leftover]
    assert list(cache.files()) == [path]
    assert len(list(cache.entries())) == 1


def test_a_failed_computation_leaves_no_file(cache: FeatureCache) -> None:
    def fail() -> Arrays:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get(RECIPE, fail)
    assert list(cache.files()) == []
    assert cache.leftovers() == []
    _, from_disk = cache.get(RECIPE, arrays)
    assert not from_disk


def test_an_interrupted_write_leaves_no_file(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.get(RECIPE, arrays)
    assert list(cache.files()) == []
    assert cache.leftovers() == []


def test_a_full_disk_costs_a_warning_only(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sslbench.features.cache._write", full)
    with pytest.warns(CacheWarning, match="No space left on device"):
        got, from_disk = cache.get(RECIPE, arrays)
    assert not from_disk
    assert_equal(got)
    assert list(cache.files()) == []


def test_an_unwritable_directory_fails_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    cache, compute = FeatureCache(tmp_path / "file"), Counting()
    with pytest.raises(CacheError, match=r"cannot be written.*--sslbench-cache"):
        cache.get(RECIPE, compute)
    assert compute.calls == 0
    with pytest.raises(CacheError, match="cannot be written"):
        cache.check_writable()


def test_reading_an_unwritable_cache_needs_no_lock(cache: FeatureCache, stored: Path, monkeypatch: Any) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a hit must not lock")

    monkeypatch.setattr(cache_module, "FileLock", refuse)
    assert cache.get(RECIPE, arrays)[1]


def worker(root: Path, log: Path, start: Any, results: Any) -> None:
    def compute() -> Arrays:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        return arrays()

    start.wait(60)
    got, from_disk = FeatureCache(root).get(RECIPE, compute)
    results.put((from_disk, float(got["x"].sum())))


def test_two_processes_compute_once_in_total(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, results, log = context.Barrier(2), context.Queue(), tmp_path / "log"
    workers = [context.Process(target=worker, args=(tmp_path, log, start, results)) for _ in range(2)]
    for process in workers:
        process.start()
    outcomes = sorted(results.get(timeout=60) for _ in workers)
    for process in workers:
        process.join(30)
    assert outcomes == [(False, 66.0), (True, 66.0)]
    assert len(log.read_text().split()) == 1
