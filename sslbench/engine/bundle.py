"""Several jobs in one Slurm job: one after the other in one process, or so many at a time in a process each."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Iterable, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from sslbench.engine.lane import Lane
from sslbench.engine.member import LEFT, run_member, set_up_process

# How often lanes are looked at whose end something that they have started hides.
_LOOK_SECONDS = 1.0


def run_bundle(folder: str, members: Sequence[tuple[str, bytes]], seconds: float, abreast: int) -> None:
    """Run jobs; files in `folder` tell how each ends, as soon as it does.

    members: (key, pickled `Job`). seconds: that this process has. In their second half no further member is begun (`KEY.left`),
    since it would hardly end. abreast: how many run at a time; with more than one each has a process of its own, whose death is
    the loss of that member alone.
    """
    set_up_process()
    middle = time.monotonic() + seconds / 2
    if abreast > 1:
        _run_abreast(Path(folder), members, middle, abreast)
        return
    for number, (key, content) in enumerate(members):
        if number and time.monotonic() > middle:
            _leave(Path(folder), members[number:])
            return
        run_member(Path(folder), key, content)
        # What a case leaves in cycles would add to the next one's memory.
        gc.collect()


def _run_abreast(folder: Path, members: Sequence[tuple[str, bytes]], middle: float, abreast: int) -> None:
    waiting = deque(members)
    lanes = [Lane(folder, f"{key}.out") for key, _ in members[:abreast]]
    try:
        for lane in lanes:
            lane.give(*waiting.popleft())
        while busy := [lane for lane in lanes if lane.key]:
            wait([lane.pipe for lane in busy], _LOOK_SECONDS)
            for lane in [lane for lane in busy if lane.is_free()]:
                if time.monotonic() > middle:
                    _leave(folder, waiting)
                    waiting.clear()
                if waiting:
                    lane.give(*waiting.popleft())
                else:
                    lane.stop()
    finally:
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.join()


def _leave(folder: Path, members: Iterable[tuple[str, bytes]]) -> None:
    for key, _ in members:
        (folder / f"{key}{LEFT}").touch()
