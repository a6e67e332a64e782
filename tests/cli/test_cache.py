"""`sslbench cache` and `doctor` on a cache of every kind of file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sslbench.cli import main
from sslbench.features.cache import FeatureCache
from sslbench.features.pictures import Pictures


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Three features, a file of kept pictures, a leftover and a converted checkpoint."""
    cache = tmp_path / "cache"
    for split in ("train", "val", "test"):
        recipe = {"backbone": "0", "dtype": "float32", "images": f"digits:{split}"}
        FeatureCache(cache).get(recipe, lambda: {"x": np.ones((4, 3), dtype=np.float32)}, "net")
    pictures = Pictures(FeatureCache(cache).pictures, 1 << 20)
    with pictures.writing({"images": "x"}, 3, (4, 5)) as writer:
        writer.append(np.zeros((3, 4, 5, 3), dtype=np.uint8), [True] * 3)
    (cache / "features/pictures/half.npy.1-2.tmp").write_bytes(b"x" * 1000)
    (cache / "checkpoints").mkdir()
    (cache / "checkpoints/swav-0.safetensors").write_bytes(b"x" * (3 << 20))
    return cache


def test_cache_ls_and_doctor_count_all_that_is_kept(capsys, mixed, monkeypatch):
    out = call(capsys, "cache", "--cache", mixed, "ls")[1]
    *rows, total = out.splitlines()
    assert len(rows) == 4
    assert rows[-1].endswith("  3 pictures of 4x5")
    stored = sum(path.stat().st_size for path in mixed.rglob("*") if path.is_file())
    assert total.startswith(f"total {stored / 2**20:.2f} MiB in {mixed}: features ")
    assert total.endswith(", kept pictures 0.00 MiB, leftovers 0.00 MiB, converted checkpoints 3.00 MiB")
    monkeypatch.setenv("SSLBENCH_CACHE", str(mixed))
    (line,) = [line for line in call(capsys, "doctor")[1].splitlines() if line.startswith("cache ")]
    assert total.partition(": ")[2] in line


def test_cache_ls_of_damaged_pictures(capsys, mixed):
    (path,) = (mixed / "features/pictures").glob("*.npy")
    path.write_bytes(path.read_bytes()[:100])
    out = call(capsys, "cache", "--cache", mixed, "ls")[1]
    assert [line.split()[0] for line in out.splitlines() if "DAMAGED" in line] == [path.stem]


def test_cache_verify_checks_pictures(capsys, mixed):
    assert call(capsys, "cache", "--cache", mixed, "verify")[:2] == (0, "0 of 4 files damaged\n")
    (path,) = (mixed / "features/pictures").glob("*.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    status, out, _ = call(capsys, "cache", "--cache", mixed, "verify")
    assert status == 1
    assert out == f"damaged picture file {path}: the checksum of picture 2 does not match\n1 of 4 files damaged\n"
    assert call(capsys, "cache", "--cache", mixed, "prune")[:2] == (0, "removed 1 files\n")
    assert not path.exists()


def test_cache_prune_all_leaves_converted_checkpoints_alone(capsys, mixed):
    assert call(capsys, "cache", "--cache", mixed, "prune", "--all")[:2] == (0, "removed 5 files\n")
    left = [path for path in mixed.rglob("*") if path.is_file()]
    assert left == [mixed / "checkpoints/swav-0.safetensors"]


def test_cache_says_what_it_does_with_a_url(capsys, mixed, monkeypatch):
    status, _, error = call(capsys, "cache", "--cache", "s3://bucket/cache", "prune")
    assert status == 2 and "s3://bucket/cache: expected a directory here" in error
    # Of the environment: the local cache in front of it.
    monkeypatch.setenv("SSLBENCH_CACHE", "s3://bucket/cache")
    monkeypatch.setenv("SSLBENCH_LOCAL_CACHE", str(mixed))
    status, out, _ = call(capsys, "cache", "ls")
    assert status == 0 and f"MiB in {mixed}" in out
    assert "what s3://bucket/cache holds is neither listed, verified nor pruned" in out
