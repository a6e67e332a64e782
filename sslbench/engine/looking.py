"""Whether machines can run cases: each that is known is looked at before any case is submitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from sslbench.engine.base import Ended, Engine, Job, Needs
from sslbench.engine.worker import Order, probe

# Long enough to load a project from a disk that a hundred machines read at once; a shared disk that hangs never answers.
_LOOK_SECONDS = 600.0
_LOG_LINES = 20


def look(engine: Engine, order: Order, collect: Callable[[], Sequence[Ended]]) -> dict[str, str]:
    """By place, what is wrong with the machines that cannot run the session's cases; those that can are left out.

    order: any one of the session. collect: what has ended by now.
    """
    waiting: dict[str, str] = {}
    for place in engine.places():
        job = Job(f"look at {place}", probe, replace(order, threads=1), Needs(cpus=0.0), near=place, only=True)
        waiting[job.name] = place
        engine.submit(job)
    unsound: dict[str, str] = {}
    until = time.monotonic() + _LOOK_SECONDS
    while waiting and time.monotonic() < until:
        for ended in collect():
            place = waiting.pop(ended.name)
            if wrong := ground_problem(ended):
                unsound[place] = wrong
            elif ended.loss is not None:
                unsound[place] = f"{ended.name}: {ended.loss.why}{log_lines(ended.loss.log)}"
    silent = f"no answer within {_LOOK_SECONDS:.0f} s; see whether its disks can be read"
    return unsound | {place: f"{name}: {silent}" for name, place in waiting.items()}


def ground_problem(ended: Ended) -> str:
    """Why no case can be run where this job was; empty where it does not say so."""
    if ended.loss is not None:
        return f"{ended.loss.why}{log_lines(ended.loss.log)}" if ended.loss.cause == "ground" else ""
    failure = ended.answer.failure
    return failure.message if failure is not None and failure.kind == "ground" else ""


def log_lines(log: str) -> str:
    """The end of a log, to be put behind a message."""
    lines = log.strip().splitlines()[-_LOG_LINES:]
    return "; the end of its log:" + "".join(f"\n    {line}" for line in lines) if lines else ""
