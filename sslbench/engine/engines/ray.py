"""The engine `ray`: cases are tasks of a Ray cluster, which runs already or is started on this machine.

Ray decides where a job runs. It is told not to repeat any (`max_retries=0`), since who asks counts the losses. What Ray
raises for a lost task was found by experiment with Ray 2.60: `WorkerCrashedError` for a process that died by whatever signal
or exit, `NodeDiedError` for a machine whose raylet is gone, for tasks that waited for it too.
"""

from __future__ import annotations

import contextlib
import pickle
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sslbench.engine.base import Ended, Engine, EngineSpec, Job, Loss, Needs, Option, yes_or_no
from sslbench.engine.ray_board import Board, log_of
from sslbench.engine.ray_connection import Connection, line
from sslbench.engine.ray_machines import Machines, describe_needs
from sslbench.engine.ray_worker import remote_run
from sslbench.errors import EngineError

# How long jobs may wait for a machine that can take them, after the last such one was lost: Ray's own restarts take less.
_PATIENCE_SECONDS = 120.0


class RayEngine:
    """Runs jobs on the cluster that this process is connected to.

    options: of `ENGINE`. folder: of the run; the logs of lost jobs are kept in its `logs`. Raises EngineError where Ray is not
    installed, cannot be reached or has another version.
    """

    def __init__(self, options: Mapping[str, Any], folder: Path) -> None:
        self._logs = Path(folder).absolute() / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._jobs: dict[Any, Job] = {}
        self._ended: deque[Ended] = deque()
        self._running: tuple[float, int] = (0.0, 0)
        self._unmet_since: float | None = None
        self._connection = Connection(str(options["address"]))
        self._closed = False
        import ray

        self._machines, self._board = Machines(bool(options["grows"])), Board()
        self._here = ray.get_runtime_context().get_node_id()
        self._run = ray.remote(remote_run())
        # A process that has used one GPU cannot change to another, and keeps memory of it: with GPUs each job has its own.
        self._run_once = ray.remote(max_calls=1)(remote_run())

    def check(self, needs: Sequence[Needs]) -> None:
        """Raise EngineError where no machine of the cluster could ever meet some of these; all may, of one that grows."""
        self._machines.check(needs)

    @property
    def has_gpus(self) -> bool:
        """Whether any machine has a GPU, as far as Ray knows."""
        return self._machines.has_gpus

    def places(self) -> list[str]:
        """The machines that have cores to give."""
        return self._machines.places()

    def exclude(self, place: str) -> None:
        """Keep what is submitted from now on away from a machine; what waits already may begin there still."""
        self._machines.exclude(place)

    def submit(self, job: Job) -> None:
        """Hand a job to Ray, which keeps the order of those with the same needs and the same `near`."""
        where = self._machines.scheduling(job)
        if where is None:
            gone = Loss("machine", f"{job.near or 'its place'} is not in the cluster any more")
            self._ended.append(Ended(job.name, loss=gone))
            return
        needs = job.needs
        options: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "max_retries": 0, "name": job.name}
        if needs.memory:
            options["memory"] = needs.memory
        ref = (
            (self._run_once if needs.gpus else self._run)
            .options(**options, **where)
            .remote(
                pickle.dumps((job.function, job.argument)), job.name, str(self._logs), needs.cpus, self._board.remote
            )
        )
        self._jobs[ref] = job

    def collect(self, seconds: float) -> list[Ended]:
        """The jobs that ended; raises EngineError where Ray is gone here, or no machine is left that could take what waits."""
        import ray

        if not self._ended and self._jobs:
            refs = list(self._jobs)
            try:
                # All at once: one wake-up for each of a thousand jobs would look through all of the others every time.
                ready, _ = ray.wait(refs, num_returns=1, timeout=seconds)
                if ready and len(refs) > 1:
                    ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
                if not ready:
                    self._look_around()
            except ray.exceptions.RayError as error:
                raise EngineError(f"the Ray cluster is gone: {line(error)}") from error
            for ref in ready:
                self._ended.append(self._end(ref, self._jobs.pop(ref)))
        ended, self._ended = list(self._ended), deque()
        return ended

    def _end(self, ref: Any, job: Job) -> Ended:
        import ray
        from ray import exceptions

        try:
            kind, place, blob = ray.get(ref)
        except exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from error
        except exceptions.LocalRayletDiedError as error:
            raise EngineError("Ray's own process on this machine died; start Ray again, and this command") from error
        except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
            return self._lost(job, error)
        except (
            exceptions.NodeDiedError,
            exceptions.ObjectLostError,
            exceptions.TaskUnschedulableError,
            exceptions.TaskCancelledError,
        ) as error:
            begun = self._board.begun().get(job.name)
            return Ended(job.name, loss=Loss("machine", line(error)), place=begun.place if begun else "")
        except exceptions.RayError as error:
            raise EngineError(f"Ray could not run {job.name}: {line(error)}") from error
        if kind == "missing":
            why = (
                f"a worker on {place} cannot run sslbench's jobs ({blob.decode()}); install the same sslbench, and whatever "
                "modules the run takes, in the Python of Ray on every machine"
            )
            return Ended(job.name, loss=Loss("unfit", why), place=place)
        return Ended(job.name, pickle.loads(blob), place=place)

    def _lost(self, job: Job, error: Exception) -> Ended:
        """The end of a job whose process died; by its machine's death, where that one is not there any more."""
        from ray import exceptions

        begun = self._board.begun().get(job.name)
        place = begun.place if begun else ""
        if place and self._machines.has_left(place):
            return Ended(job.name, loss=Loss("machine", f"{place} has left the cluster"), place=place)
        if isinstance(error, exceptions.OutOfMemoryError):
            why = line(error)
        else:
            why = "its process died: it was killed, perhaps for want of memory, or crashed; Ray does not tell which"
        return Ended(job.name, loss=Loss("worker", why, log_of(begun, self._machines)), place=place)

    def running(self) -> int:
        """How many jobs have begun, by their own word of a second ago at most."""
        asked, count = self._running
        if time.monotonic() - asked > 1.0 and not self._connection.headless:
            begun = self._board.begun()
            count = sum(job.name in begun for job in self._jobs.values())
            self._running = time.monotonic(), count
        return count

    def _look_around(self) -> None:
        """Nothing has ended for a while: raise EngineError where nothing ever will."""
        if not self._connection.head_answers():
            return
        if self._here not in [node["NodeID"] for node in self._machines.alive()]:
            raise EngineError("Ray's own process on this machine died; start Ray again, and this command")
        unmet = self._machines.unmet(dict.fromkeys(job.needs for job in self._jobs.values()))
        if not unmet:
            self._unmet_since = None
            return
        now = time.monotonic()
        self._unmet_since = self._unmet_since or now
        if now - self._unmet_since > _PATIENCE_SECONDS:
            raise EngineError(
                f"for {_PATIENCE_SECONDS:.0f} s no machine of the Ray cluster could run a job of {describe_needs(unmet[0])}; "
                f"it has {self._machines.summary()} left"
            )

    def close(self) -> None:
        """Stop what has not ended; leave the cluster, or end it where it was started here."""
        if self._closed:
            return
        self._closed = True
        if not self._connection.own:
            import ray

            # Those that were submitted last go first, so that none of them begins when another one is stopped.
            with contextlib.suppress(ray.exceptions.RayError):
                for ref in reversed(self._jobs):
                    ray.cancel(ref, force=True)
                self._board.close()
        self._jobs.clear()
        self._ended.clear()
        self._connection.close()


def _start(options: Mapping[str, Any], folder: Path) -> Engine:
    return RayEngine(options, folder)


ENGINE = EngineSpec(
    "ray",
    "the machines of a Ray cluster",
    _start,
    {
        "address": Option(str, "", "auto, local (start one here) or HOST:PORT; by default RAY_ADDRESS, else auto"),
        "grows": Option(yes_or_no, False, "yes: the cluster adds machines as they are asked for"),
    },
    extra="ray",
)
