"""Several jobs in one Slurm job: one after the other in one process, or several at a time in a process each."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Iterable, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from sslbench.engine.member import LEFT, run_member, set_up_process
from sslbench.engine.worker_process import WorkerProcess

# How often workers are looked at whose end something that they have started hides.
_LOOK_SECONDS = 1.0


def run_bundle(folder: str, members: Sequence[tuple[str, bytes]], seconds: float, concurrency: int) -> None:
    """Run jobs; files in `folder` tell how each ends, as soon as it does.

    members: (key, pickled `Job`). seconds: that this process has. In their second half no further member is begun (`KEY.left`),
    since it would hardly end. concurrency: how many run at a time; with more than one each has a process of its own, whose
    death is the loss of that member alone.
    """
    set_up_process()
    middle = time.monotonic() + seconds / 2
    if concurrency > 1:
        _run_parallel(Path(folder), members, middle, concurrency)
        return
    for number, (key, content) in enumerate(members):
        if number and time.monotonic() > middle:
            _leave(Path(folder), members[number:])
            return
        run_member(Path(folder), key, content)
        # What a case leaves in cycles would add to the next one's memory.
        gc.collect()


def _run_parallel(folder: Path, members: Sequence[tuple[str, bytes]], middle: float, concurrency: int) -> None:
    waiting = deque(members)
    workers = [WorkerProcess(folder, f"{key}.out") for key, _ in members[:concurrency]]
    try:
        for worker in workers:
            worker.give(*waiting.popleft())
        while busy := [worker for worker in workers if worker.key]:
            wait([worker.pipe for worker in busy], _LOOK_SECONDS)
            for worker in [worker for worker in busy if worker.is_free()]:
                if time.monotonic() > middle:
                    _leave(folder, waiting)
                    waiting.clear()
                if waiting:
                    worker.give(*waiting.popleft())
                else:
                    worker.stop()
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join()


def _leave(folder: Path, members: Iterable[tuple[str, bytes]]) -> None:
    for key, _ in members:
        (folder / f"{key}{LEFT}").touch()
