"""Processes of this machine in the place of a Slurm cluster."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sslbench.engine.base import Loss, Needs
from sslbench.engine.cluster import END_SECONDS, MINUTES, before, plain_environment
from sslbench.engine.worker_process import MODULE as WORKER_PROCESS
from sslbench.errors import EngineError

_ASK_SECONDS = 5.0


class ProcessCluster:
    """Processes of this machine in the place of Slurm jobs, to try what would be submitted. All of them see the same GPUs."""

    settle_seconds = 0.0

    def __init__(self, options: Mapping[str, Any], folder: Path, name: str) -> None:
        from sslbench.features.device import resolve_device

        self._options, self._folder, self.name = options, folder, name
        self._gpus = resolve_device("auto").startswith("cuda")
        self.slots = options["slots"] or (1 if self._gpus else os.cpu_count() or 1)
        self.minutes = options["time"] or MINUTES
        self._begun: dict[str, float] = {}
        self._jobs: list[Any] = []

    @property
    def has_gpus(self) -> bool:
        """Whether torch finds one."""
        return self._gpus

    def places(self) -> list[str]:
        """This machine."""
        return [platform.node()]

    def exclude(self, place: str) -> None:
        """There is no other machine."""
        raise EngineError(f"{place} is the only machine (executor=local)")

    def check(self, needs: Sequence[Needs]) -> None:
        """Cores and memory can be tried; a GPU that is not there cannot."""
        if any(need.gpus for need in needs) and not self._gpus:
            raise EngineError("a case needs a GPU, and torch finds none on this machine (executor=local)")

    def submit(self, needs: Needs, threads: int, function: Callable[..., None], *arguments: Any) -> Any:
        """A process, which may start others."""
        import submitit

        # submitit would run `setup` in a shell that stays between it and the process, which it then could not stop.
        commands = " && ".join([*before(self._options["setup"], threads), f'exec {shlex.quote(sys.executable)} "$@"'])
        executor = submitit.LocalExecutor(self._folder, python=f"bash -c {shlex.quote(commands)} sslbench")
        executor.update_parameters(
            timeout_min=self.minutes,
            stderr_to_stdout=True,
            gpus_per_node=int(needs.gpus),
            signal_delay_s=0,
        )
        with plain_environment(), _uninterrupted():
            job = executor.submit(function, *arguments)
        self._begun[job.job_id] = time.monotonic()
        self._jobs.append(job)
        return job

    def lost(self, jobs: Sequence[Any]) -> dict[str, Loss]:
        """Those whose process is no more."""
        found = {}
        for job in jobs:
            if job.done():
                over = time.monotonic() - self._begun[job.job_id] > 60 * self.minutes
                limit = f"the process reached the time limit of {self.minutes} minutes"
                found[job.job_id] = (
                    Loss("machine", limit) if over else Loss("worker", f"the process of job {job.job_id} died")
                )
        return found

    def stop(self) -> None:
        """Ask them to end; kill those that do not."""
        begun, asked = time.monotonic(), 0
        while live := [job for job in self._jobs if not job.done()]:
            seconds = time.monotonic() - begun
            if seconds > _ASK_SECONDS:
                break
            if seconds >= asked:
                # Again and again: submitit lets it pass until it has come to our function.
                for job in live:
                    os.kill(int(job.job_id), signal.SIGTERM)
                asked += 1
            time.sleep(0.02)
        _kill_all(self._folder)
        self._jobs.clear()

    def stop_earlier(self, name: str) -> int:
        """They are known by their folder, which is on their command line; where there is no /proc none is found."""
        return _kill_all(self._folder.with_name(name))


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """What is started here has no part in ctrl-C: what watches over a job would tell of it on the terminal, in many lines."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill_all(folder: Path) -> int:
    """Kill the processes of a session, and wait until they are dead. Returns of how many jobs they were. Raises EngineError."""
    ended: dict[int, bool] = {}
    deadline = time.monotonic() + END_SECONDS
    # Looked for again: one may have been about to start another.
    while live := (found := _processes(folder)).keys() | {number for number in ended if _lives(number)}:
        if time.monotonic() > deadline:
            numbers = ", ".join(map(str, sorted(live)))
            raise EngineError(f"processes of a session's jobs do not end: {numbers}; end them by hand")
        for number in found.keys() - ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        ended |= found
        time.sleep(0.05)
    # Each job has its own, one that watches over it, and any number of workers.
    return -(-sum(not is_worker for is_worker in ended.values()) // 2)


def _processes(folder: Path) -> dict[int, bool]:
    """Those with the folder on their command line, which is empty once one begins to die, and whether they are workers."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_bytes().split(b"\0")
            if str(folder).encode() in words:
                found[int(file.parent.name)] = WORKER_PROCESS.encode() in words
    return found


def _lives(number: int) -> bool:
    """Whether a process runs or is about to die: until it is dead it may still write, and hold memory of a GPU."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
