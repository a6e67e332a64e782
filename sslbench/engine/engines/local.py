"""The engine `local`: this process, one job after the other, by the same way as on a cluster."""

from __future__ import annotations

import pickle
import platform
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sslbench.engine.base import Ended, Engine, EngineSpec, Job, Needs
from sslbench.engine.worker import forget


class LocalEngine:
    """Runs a job when somebody collects. What would travel is pickled, so that it shows here what cannot."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()

    def check(self, needs: Sequence[Needs]) -> None:
        """Everything can be tried here."""

    @property
    def has_gpus(self) -> bool:
        """Whether torch finds one."""
        from sslbench.features.device import resolve_device

        return resolve_device("auto").startswith("cuda")

    def places(self) -> list[str]:
        """This machine."""
        return [platform.node()]

    def submit(self, job: Job) -> None:
        """Put it into the queue."""
        self._waiting.append(pickle.dumps(job))

    def collect(self, seconds: float) -> list[Ended]:
        """Run the next one; with 0 seconds none, since who only looks may be about to close."""
        if not self._waiting or seconds <= 0:
            return []
        job: Job = pickle.loads(self._waiting.popleft())
        answer = pickle.loads(pickle.dumps(job.function(job.argument)))
        return [Ended(job.name, answer, place=platform.node())]

    def running(self) -> int:
        """None between two calls."""
        return 0

    def close(self) -> None:
        """Forget what waits, and what was kept for it: the next session in this process may mean other things by a name."""
        self._waiting.clear()
        forget()


def _start(options: Mapping[str, Any], folder: Path) -> Engine:
    return LocalEngine()


ENGINE = EngineSpec(
    "local",
    "this process, one case after the other: to try what would run on a cluster",
    _start,
    {},
    elsewhere=False,
)
