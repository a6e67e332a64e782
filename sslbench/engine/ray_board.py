"""Where the jobs of a Ray cluster have begun, by their own word, and the logs of those that are lost."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

from sslbench.engine.ray_machines import Machines
from sslbench.files import read_end


class Begun(NamedTuple):
    """Where a job began: its place, and the file that takes what its process writes."""

    place: str
    log: str


class Board:
    """A small process beside this one, to which jobs tell where they are; what is lost has said so before.

    remote: Ray's handle, for jobs.
    """

    def __init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # Beside this process, so that it is there as long as anybody asks.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        board = ray.remote(_remote_board())
        self.remote: Any = board.options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()
        self._last: dict[str, Begun] = {}

    def begun(self) -> dict[str, Begun]:
        """By name, the jobs that have begun and not answered, as far as they could say so."""
        import ray

        try:
            found = {name: Begun(*begun) for name, begun in ray.get(self.remote.all.remote(), timeout=10.0).items()}
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            found = {}
        # Its process may be busy, or was killed too and comes back empty: what it said before is as good.
        self._last = found or self._last
        return self._last

    def close(self) -> None:
        """End it."""
        import ray

        ray.kill(self.remote)


def log_of(begun: Begun | None, machines: Machines) -> str:
    """The end of a log: from here where it can be seen, by a task on its machine where not."""
    if begun is None:
        return ""
    text = _read_log(begun.log)
    node = machines.node_of(begun.place)
    if text is None and node:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = ray.remote(_remote_log()).options(
            num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        )
        with contextlib.suppress(ray.exceptions.RayError):
            # It may take the start of a process on a machine that is busy.
            text = ray.get(there.remote(begun.log), timeout=60.0)
    return text or ""


def _read_log(path: str) -> str | None:
    """The end of it; None where it cannot be seen from here."""
    with contextlib.suppress(OSError):
        return read_end(Path(path))
    return None


# Inside of functions they are sent by value, and named in Ray's lists as they are here.


def _remote_board() -> Any:
    class SslbenchBoard:
        def __init__(self) -> None:
            self.begun: dict[str, tuple[str, str]] = {}

        def begin(self, name: str, place: str, log: str) -> None:
            self.begun[name] = (place, log)

        def end(self, name: str) -> None:
            self.begun.pop(name, None)

        def all(self) -> dict[str, tuple[str, str]]:
            return self.begun

    return SslbenchBoard


def _remote_log() -> Any:
    def sslbench_log(path: str) -> str | None:
        from sslbench.engine.ray_board import _read_log

        return _read_log(path)

    return sslbench_log
