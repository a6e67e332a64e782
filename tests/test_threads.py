"""Shares of the cores, and giving way to other programs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sslbench import threads


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("files", "affinity", "expected"),
    [
        ({}, 8, 8),
        ({"cpu.max": "max 100000"}, 8, 8),
        ({"cpu.max": "250000 100000"}, 8, 3),
        ({"cpu.max": "50000 100000"}, 8, 1),
        ({"cpu.max": "3200000 100000"}, 8, 8),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 8, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8, 8),
        ({"cpu.max": "nonsense"}, 2, 2),
    ],
)
def test_usable_cores(
    files: dict[str, str], affinity: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(threads, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)))
    assert threads.usable_cores() == expected


@pytest.mark.parametrize(
    ("chosen", "usable", "workers", "expected"),
    [(8, 8, 4, 2), (8, 8, 100, 1), (1, 8, 4, 1), (3, 8, 1, 3), (8, 2, 1, 2)],
)
def test_a_share_is_never_more_than_was_chosen(
    chosen: int, usable: int, workers: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: usable)
    torch.set_num_threads(chosen)
    assert threads.share_cores(workers) == torch.get_num_threads() == expected


def test_the_description_names_what_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    monkeypatch.setattr(threads, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(3)
    assert threads.describe().startswith("2 threads on 2 usable of 8 cores, quota of 1.5 cores, OMP_NUM_THREADS=3, ")


class Machine:
    """What the system says of a thread: seconds run and waited, which a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = self.wait = self.now = 0.0
        monkeypatch.setattr(threads, "run_and_wait", lambda: (int(1e9 * self.run), int(1e9 * self.wait)))
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(threads, "_crowding", threads._Crowding())

    def passes(self, run: float, wait: float) -> None:
        self.run, self.wait, self.now = self.run + run, self.wait + wait, self.now + run + wait


def test_one_thread_while_the_cores_are_crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    torch.set_num_threads(2)
    seen = []
    with threads.giving_way() as look:
        for run, wait in ((0.04, 0.0), (0.02, 0.02), (0.02, 0.02), (1.0, 0.01), (0.04, 0.002)):
            machine.passes(run, wait)
            look()
            seen.append(torch.get_num_threads())
    # The third look comes too soon to trust a change for the better.
    assert seen == [2, 1, 1, 2, 2]
    assert torch.get_num_threads() == 2


def test_what_was_seen_before_counts_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    torch.set_num_threads(2)
    machine.passes(1.0, 1.0)
    with threads.giving_way():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_inside_of_another_the_number_is_that_of_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    torch.set_num_threads(2)
    machine.passes(1.0, 1.0)
    with threads.giving_way():
        with threads.giving_way() as look:
            machine.passes(2.0, 0.0)
            look()
            assert torch.get_num_threads() == 2
        machine.passes(1.0, 1.0)
        with threads.giving_way():
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_an_error_gives_the_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch).passes(1.0, 1.0)
    torch.set_num_threads(2)
    with pytest.raises(KeyError), threads.giving_way():
        raise KeyError
    assert torch.get_num_threads() == 2


def test_where_the_system_does_not_tell_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "run_and_wait", lambda: None)
    monkeypatch.setattr(threads, "_crowding", threads._Crowding())
    torch.set_num_threads(2)
    with threads.giving_way() as look:
        look()
        assert torch.get_num_threads() == 2


@pytest.mark.skipif(
    threads.run_and_wait() is None, reason="the system does not tell how long a thread waited for a core"
)
def test_a_thread_that_shares_its_core_is_seen_to_wait() -> None:
    """Two processes on one core: each of them waits about half of the time."""
    code = (
        "import os, time; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from sslbench.threads import run_and_wait\n"
        "before, end = run_and_wait(), time.perf_counter() + 0.5\n"
        "while time.perf_counter() < end: pass\n"
        "after = run_and_wait(); run, wait = after[0] - before[0], after[1] - before[1]\n"
        "print(wait / (run + wait))"
    )
    busy = subprocess.Popen(
        [sys.executable, "-c", "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"]
    )
    try:
        told = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True)
    finally:
        busy.kill()
        busy.wait()
    assert float(told.stdout) > threads._CROWDED


def test_a_crowded_moment_does_not_hold_beyond_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    crowded = [True]
    monkeypatch.setattr(threads._Crowding, "look", lambda self: crowded[0])
    try:
        torch.set_num_threads(2)
        with threads.giving_way():
            assert (torch.get_num_threads(), threads.uncrowded()) == (1, 2)
            crowded[0] = False
            threads.look()
            assert torch.get_num_threads() == 2
        crowded[0] = True
        threads.look()  # outside of such a block nothing is changed
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
