"""A bundle's members one after the other and side by side, and what becomes of them when processes die."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest

from sslbench.engine.base import Job, Loss
from sslbench.engine.member import read_begun, read_ended
from tests.engines import slurm_jobs
from tests.engines.processes import alive, wait_until

ROOT = Path(__file__).parents[2]
SCRIPT = """
import pickle, sys
from sslbench.engine.bundle import run_bundle
run_bundle(*pickle.load(sys.stdin.buffer))
"""


@pytest.fixture
def start(tmp_path):
    """Starts a bundle of (function, argument) pairs in a process; its members are called `0`, `1`, ..."""
    started = []

    def start(*members, concurrency, seconds=600.0):
        jobs = [(str(number), pickle.dumps(Job(f"job {number}", *member))) for number, member in enumerate(members)]
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        started.append(process)
        process.stdin.write(pickle.dumps((str(tmp_path), jobs, seconds, concurrency)))
        process.stdin.close()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def answers(folder):
    return {path.stem: read_ended(path) for path in sorted(folder.glob("*.ended"))}


def test_so_many_run_at_a_time_and_processes_are_kept(start, tmp_path):
    assert start(*[(slurm_jobs.meet, (str(tmp_path), 2))] * 5, concurrency=2).wait(60) == 0
    events = (tmp_path / "events").read_text().split()
    assert max(accumulate({"+": 1, "-": -1}[event] for event in events)) == 2 and len(events) == 10
    numbers = [answer[0] for answer, _ in answers(tmp_path).values()]
    assert len(numbers) == 5 and len(set(numbers)) == 2
    assert sorted(path.name for path in tmp_path.glob("*.out")) == ["0.out", "1.out"]


def test_one_at_a_time_is_this_process(start, tmp_path):
    process = start((slurm_jobs.own_process, None), (slurm_jobs.own_process, None), concurrency=1)
    assert process.wait(60) == 0
    assert [answer[0] for answer, _ in answers(tmp_path).values()] == [process.pid] * 2


def test_a_death_is_the_loss_of_one_with_its_own_log(start, tmp_path):
    never, go = tmp_path / "never", tmp_path / "go"
    process = start(
        (slurm_jobs.wait_for, str(go)), (slurm_jobs.die, str(tmp_path)), (slurm_jobs.double, 4),
        (slurm_jobs.wait_for, str(never)), concurrency=2,
    )  # fmt: skip
    wait_until((tmp_path / "never.waits").exists)
    # The neighbour has seen nothing of it, and the next ones have another process.
    assert answers(tmp_path) == {
        "1": (None, Loss("worker", "its process was killed by signal 9", "about to die")),
        "2": (8, None),
    }
    assert read_begun(tmp_path, "1") == (os.uname().nodename, "1.out")
    os.kill(int((tmp_path / "never.waits").read_text()), signal.SIGTERM)
    go.touch()
    assert process.wait(60) == 0
    ended = answers(tmp_path)
    assert ended["0"] == (int((tmp_path / "go.waits").read_text()), None)
    assert "signal 2" in ended["3"][1].why and ended["3"][1].log.endswith("KeyboardInterrupt")
    assert "about to die" not in ended["3"][1].log


@pytest.mark.skipif(sys.platform != "linux", reason="what is killed takes others with it on Linux alone")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_survives_its_bundle(start, tmp_path, number):
    process = start(*[(slurm_jobs.wait_for, str(tmp_path / name)) for name in "abc"], concurrency=2)
    wait_until(lambda: all((tmp_path / f"{name}.waits").exists() for name in "ab"))
    workers = [int((tmp_path / f"{name}.waits").read_text()) for name in "ab"]
    assert process.pid not in workers and all(map(alive, workers))
    process.send_signal(number)
    process.wait(60)
    wait_until(lambda: not any(map(alive, workers)))
    assert not answers(tmp_path) and not (tmp_path / "c.waits").exists()


@pytest.mark.parametrize("concurrency", [1, 2])
def test_in_the_second_half_of_the_time_none_begins(start, tmp_path, concurrency):
    assert (
        start(*[(slurm_jobs.double, number) for number in range(4)], concurrency=concurrency, seconds=0.0).wait(60) == 0
    )
    assert sorted(answers(tmp_path)) == [str(number) for number in range(concurrency)]
    assert sorted(path.stem for path in tmp_path.glob("*.left")) == [str(number) for number in range(concurrency, 4)]
