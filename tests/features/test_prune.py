"""Cleaning the cache: what goes, and what a process at work keeps."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from sslbench.features import picture_file
from sslbench.features.cache import Arrays, FeatureCache
from sslbench.features.pictures import Pictures

RECIPES = ({"a": 1}, {"a": 2})
SIZE = (4, 5)


def arrays() -> Arrays:
    return {"x": np.ones((2, 3), dtype=np.float32)}


def keep(pictures: Pictures, recipe: dict[str, int]) -> Path:
    with pictures.writing(recipe, 3, SIZE) as writer:
        assert writer is not None
        writer.append(np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, *SIZE, 3), [True, False, True])
    return pictures.path(recipe)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """Two features and two picture files."""
    cache = FeatureCache(tmp_path)
    for recipe in RECIPES:
        cache.get(recipe, arrays)
        keep(Pictures(cache.pictures, 1 << 20), recipe)
    return cache


def locks(cache: FeatureCache) -> list[Path]:
    return sorted(cache.root.rglob("*.lock"))


@contextlib.contextmanager
def held_by_another_process(lock: Path) -> Iterator[None]:
    code = f"from filelock import FileLock\nwith FileLock({str(lock)!r}): print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.communicate("\n", timeout=30)


def test_prune_all_leaves_nothing(cache: FeatureCache) -> None:
    for path in (*cache.files(), *cache.picture_files()):
        path.with_suffix(".lock").touch()
    (cache.root / "ab").mkdir()
    (cache.root / "ab" / "orphan.lock").touch()
    (cache.pictures / "half.npy.1-2.tmp").write_bytes(b"x")
    expected = sorted([*cache.files(), *cache.picture_files(), *cache.leftovers()])
    assert sorted(cache.prune(everything=True)) == expected
    assert [path for path in cache.root.rglob("*") if path.is_file()] == []
    assert cache.size().total == 0
    # The cache works on.
    assert cache.get(RECIPES[0], arrays)[1] is False


def test_locks_go_with_their_files(cache: FeatureCache) -> None:
    first, second = cache.files()
    for path in (first, second):
        path.with_suffix(".lock").touch()
    os.utime(first, (0, 0))
    assert cache.prune(older_than_days=1) == [first]
    assert second.with_suffix(".lock").exists()
    assert not first.with_suffix(".lock").exists()
    assert len(list(cache.picture_files())) == 2


@pytest.mark.parametrize("options", [{"everything": True}, {"older_than_days": 0.0}, {}])
def test_what_a_process_has_locked_stays(cache: FeatureCache, options: dict[str, float]) -> None:
    # It computes features that are not there yet, and writes pictures.
    lock, writing = cache.path({"a": 3}).with_suffix(".lock"), cache.pictures / "abc.npy.77-ff.tmp"
    lock.parent.mkdir(exist_ok=True)
    writing.write_bytes(b"half")
    os.utime(writing, (0, 0))
    with held_by_another_process(lock), held_by_another_process(cache.pictures / "abc.lock"):
        cache.prune(**options)
        assert lock.exists() and writing.exists() and (cache.pictures / "abc.lock").exists()
    cache.prune(**options)
    assert not lock.exists() and not writing.exists() and not (cache.pictures / "abc.lock").exists()


def test_pruning_all_costs_a_writer_nothing(cache: FeatureCache) -> None:
    pictures = Pictures(cache.pictures, 1 << 20)
    with pictures.writing({"a": 4}, 1, SIZE) as writer:
        assert writer is not None
        cache.prune(everything=True)
        writer.append(np.zeros((1, *SIZE, 3), dtype=np.uint8), [True])
    assert pictures.open({"a": 4}, 1, SIZE) is not None

    def compute() -> Arrays:
        cache.prune(everything=True)
        return arrays()

    assert cache.get({"a": 5}, compute)[1] is False
    assert cache.get({"a": 5}, compute)[1] is True


def test_who_waits_for_a_removed_lock_gets_one(cache: FeatureCache) -> None:
    lock = cache.root / "ab" / "k.lock"
    lock.parent.mkdir()
    lock.touch()
    cache.prune()
    with FileLock(lock, timeout=0):
        assert lock.exists()


def test_a_young_leftover_without_a_lock_stays_until_all_is_asked_for(cache: FeatureCache) -> None:
    young, old = (cache.pictures / f"{name}.npy.1-2.tmp" for name in ("young", "old"))
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 4000,) * 2)
    assert cache.prune() == [old]
    assert cache.prune(everything=True)[0] == young


def test_damaged_pictures_are_found_and_removed(cache: FeatureCache) -> None:
    sound, damaged = cache.picture_files()
    content = bytearray(damaged.read_bytes())
    # The flag of picture 1, which is absent: 3 x (4 + 1 + 60) bytes of records stand at the end.
    content[-3 * 65 + 65 + 4] ^= 1
    damaged.write_bytes(content)
    (message,) = cache.verify()
    assert message == f"damaged picture file {damaged}: the checksum of picture 1 does not match"
    assert cache.prune() == [damaged]
    assert list(cache.picture_files()) == [sound]


def truncated(content: bytes) -> bytes:
    return content[:-1]


def other_array(content: bytes) -> bytes:
    return np.lib.format.magic(1, 0) + content[8:].replace(b"pixels", b"pixelz")


@pytest.mark.parametrize("damage", [truncated, other_array, lambda content: b"", lambda content: content[:7]])
def test_a_file_that_is_no_picture_file_has_a_problem(cache: FeatureCache, damage) -> None:
    path = next(cache.picture_files())
    assert picture_file.problem(path) is None
    path.write_bytes(damage(path.read_bytes()))
    assert picture_file.problem(path) is not None
    assert [entry.label for entry in cache.picture_entries()] == ["", "3 pictures of 4x5"]
    assert len(cache.prune()) == 1


def test_sizes_are_those_on_disk(cache: FeatureCache, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "net.safetensors").write_bytes(b"x" * 1234)
    (cache.pictures / "half.npy.1-2.tmp").write_bytes(b"x" * 77)
    size = cache.size()
    assert size.features == sum(path.stat().st_size for path in cache.files()) > 0
    assert size.pictures == 2 * next(cache.picture_files()).stat().st_size
    assert (size.leftovers, size.checkpoints) == (77, 1234)
    assert size.total == size.features + size.pictures + 77 + 1234
    assert FeatureCache(tmp_path / "none").size().total == 0
