"""Stores that the tests of this folder have."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sslbench.store import store as module
from sslbench.store.store import Store

_number = itertools.count()


def join_tries() -> None:
    """Wait for tries that were given up."""
    for thread in threading.enumerate():
        if thread.name == "sslbench-store":
            thread.join(60)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four tries without a wait."""
    monkeypatch.setattr(module, "WAITS", (0.0, 0.0, 0.0))


@pytest.fixture
def faulty(at_once: None) -> Iterator[Store]:
    from tests.store.faulty import FaultyFileSystem

    FaultyFileSystem.reset()
    yield Store("faulty://bucket/prefix")
    join_tries()
    FaultyFileSystem.reset()


@pytest.fixture(params=["file", "memory", "faulty"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "faulty":
        found: Store = request.getfixturevalue("faulty")
        return found
    root = f"file://{tmp_path}/store" if request.param == "file" else f"memory://bucket/{next(_number)}"
    return Store(root)
