"""Pictures for training beside other processes, interrupts and the cache's commands: a file is whole or absent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from sslbench.datasets import ImageFiles
from sslbench.features import original_keeping
from sslbench.features.cache import FeatureCache
from sslbench.features.original_loading import OriginalLoader
from sslbench.features.pictures import Pictures
from tests.features.originals import all_of, file_of, files_source, opened

OPEN = """
import sys, time
from pathlib import Path
from sslbench.datasets import ImageFiles
from sslbench.features import original_keeping
from sslbench.features.original_loading import OriginalLoader
from sslbench.features.originals import open_originals
from sslbench.features.pictures import Pictures

root, pause = Path(sys.argv[1]), float(sys.argv[2])
original_keeping._estimate = lambda loader, count: 1
real, loaded = OriginalLoader.load, []

def load(self, row):
    loaded.append(row)
    print("began", flush=True) if len(loaded) == 1 else None
    time.sleep(pause)
    return real(self, row)

OriginalLoader.load = load
source = ImageFiles("files:10:()", sorted((root / "f").iterdir(), key=lambda path: int(path.stem)))
originals = open_originals(source, 24, extraction="fast", pictures=Pictures(root / "kept", 1 << 20), device="cpu")
print(originals.label, len(loaded), sum(int(picture.sum()) for picture in originals.take(range(10))))
"""


def opening(root: Path, pause: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", OPEN, str(root), str(pause)], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has begun to decode."""
    files_source(tmp_path / "f", policy="fail")
    with opening(tmp_path, 0.1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        yield process
        process.kill()


def test_a_second_process_waits_and_decodes_nothing(
    tmp_path: Path, pictures: Pictures, writer: subprocess.Popen[str], decoded: list[int]
) -> None:
    originals = opened(ImageFiles("files:10:()", files_source(tmp_path / "f").paths), pictures)
    total = sum(int(picture.astype(int).sum()) for picture in all_of(originals))
    assert originals.label == "kept" and not decoded
    assert writer.communicate(timeout=60)[0] == f"kept 10 {total}\n"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no signal that cannot be caught")
def test_a_killed_writer_leaves_nothing_half(
    tmp_path: Path, pictures: Pictures, writer: subprocess.Popen[str], decoded: list[int]
) -> None:
    deadline = time.monotonic() + 30
    while not list(pictures.root.glob("*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait(timeout=30)
    assert not list(pictures.root.glob("*.pictures"))
    (leftover,) = pictures.root.glob("*.pictures.*.tmp")
    source = ImageFiles("files:10:()", files_source(tmp_path / "f").paths)
    assert opened(source, pictures).label == "kept"
    assert len(decoded) == 10
    os.utime(leftover, (0, 0))
    cache = FeatureCache(tmp_path)
    cache.root, cache.pictures = tmp_path, pictures.root
    assert cache.prune() == [leftover]


def test_an_interrupt_leaves_no_file(tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    source = files_source(tmp_path / "f")
    real = OriginalLoader.load

    def load(self: OriginalLoader, row: int) -> torch.Tensor | None:
        if row == 5:
            raise KeyboardInterrupt
        return real(self, row)

    monkeypatch.setattr(original_keeping, "_estimate", lambda loader, count: 1)
    monkeypatch.setattr(OriginalLoader, "load", load)
    with pytest.raises(KeyboardInterrupt):
        opened(source, pictures)
    assert not list(pictures.root.glob("*.pictures*"))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sslbench-load")]


def test_a_lock_is_let_go(tmp_path: Path, pictures: Pictures) -> None:
    opened(files_source(tmp_path / "f"), pictures)
    with FileLock(file_of(pictures).with_suffix(".lock"), timeout=0):
        pass


def test_the_cache_knows_the_file(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    opened(files_source(tmp_path / "f"), Pictures(cache.pictures, 1 << 20))
    (path,) = cache.picture_files()
    (entry,) = cache.picture_entries()
    assert entry.label == "10 pictures at their own size"
    assert cache.size().pictures == path.stat().st_size
    assert cache.verify() == []
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    assert cache.verify() == [f"damaged picture file {path}: the checksum of picture 0 does not match"]
    assert cache.prune() == [path]
