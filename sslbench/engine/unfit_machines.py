"""Machines that can run no case: each that is known is asked before any case is submitted, and every job says so too."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from sslbench.engine.base import Ended, Engine, Job, Needs
from sslbench.engine.worker import Order, probe

# Long enough to load a project from a disk that a hundred machines read at once; a shared disk that hangs never answers.
_WAIT_SECONDS = 600.0


def unfit_machines(engine: Engine, order: Order, collect: Callable[[], Sequence[Ended]]) -> dict[str, str]:
    """By place, what is wrong with the machines that cannot run the session's cases; those that can are left out.

    order: any one of the session. collect: what has ended by now.
    """
    waiting: dict[str, str] = {}
    for place in engine.places():
        job = Job(f"look at {place}", probe, replace(order, threads=1), Needs(cpus=0.0), near=place, only=True)
        waiting[job.name] = place
        engine.submit(job)
    unfit: dict[str, str] = {}
    until = time.monotonic() + _WAIT_SECONDS
    while waiting and time.monotonic() < until:
        for ended in collect():
            place = waiting.pop(ended.name)
            if why := why_unfit(ended):
                unfit[place] = why
            elif ended.loss is not None:
                unfit[place] = f"{ended.name}: {ended.loss.message}"
    silent = f"no answer within {_WAIT_SECONDS:.0f} s; see whether its disks can be read"
    return unfit | {place: f"{name}: {silent}" for name, place in waiting.items()}


def why_unfit(ended: Ended) -> str:
    """Why no case can be run where this job was; empty where it does not say so."""
    if ended.loss is not None:
        return ended.loss.message if ended.loss.cause == "unfit" else ""
    failure = ended.answer.failure
    return failure.message if failure is not None and failure.kind == "unfit" else ""
