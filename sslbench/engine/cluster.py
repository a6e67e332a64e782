"""Where bundles of jobs are submitted to, by submitit."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from sslbench.engine.base import Loss, Needs

MINUTES = 240
"""How long a job may last where nothing is said."""

END_SECONDS = 120
"""How long to wait for the end of jobs that were stopped."""

SETUP_FAILED = 97
"""The exit status of a job whose `setup` failed: one that neither a shell nor python gives."""


class Cluster(Protocol):
    """Takes bundles. `Needs` are those of whole bundles, with whole GPUs and cores.

    name: of all its jobs, and of nobody else's. settle_seconds: for how long the last files of an ended job may be on their way.
    slots: how many jobs may be in the queue. minutes: that one may last.
    """

    name: str
    settle_seconds: float
    slots: int
    minutes: float

    @property
    def has_gpus(self) -> bool:
        """Whether a job can have any."""

    def places(self) -> list[str]:
        """The machines that are known."""

    def exclude(self, place: str) -> None:
        """Run nothing there that is submitted from now on. Raises EngineError where there is no other."""

    def check(self, needs: Sequence[Needs]) -> None:
        """Raise EngineError where a job with these needs would never run."""

    def submit(self, needs: Needs, threads: int, function: Callable[..., None], *arguments: Any) -> Any:
        """Submitit's job. threads: of each of its processes. Raises EngineError where it is refused."""

    def lost(self, jobs: Sequence[Any]) -> dict[str, Loss]:
        """Those of the jobs that have ended, by their numbers, with what to say of members that gave no answer."""

    def stop(self) -> None:
        """End all jobs."""

    def stop_earlier(self, name: str) -> int:
        """End the jobs of a session that was killed, called `name`; returns how many there were.

        Waits for their end: two jobs must not train from one state. Raises EngineError where they do not end.
        """


def before(setup: str, threads: int) -> list[str]:
    """The commands before python. What they export comes first: a module that is loaded may add to it."""
    exported = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": ""}
    exported = {name: os.environ.get(name, value) for name, value in exported.items()}
    return [
        *(f"export {name}={shlex.quote(value)}" for name, value in exported.items() if value),
        *([f"{{ {setup}; }} || exit {SETUP_FAILED}"] if setup else []),
    ]


@contextlib.contextmanager
def plain_environment() -> Iterator[None]:
    """Without what a job inherits where this session is one itself: submitit and srun would take it for the new job's own.

    SBATCH_* are the user's defaults, and SLURM_CONF leads to the cluster.
    """
    taken = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")) and name != "SLURM_CONF"
    }
    try:
        yield
    finally:
        os.environ.update(taken)
