"""The engine `ray`: cases are tasks of a Ray cluster, which runs already or is started on this machine.

Ray decides where a job runs. It is told not to repeat any (`max_retries=0`), since who asks counts the losses. What Ray
raises for a lost task was found by experiment with Ray 2.60: `WorkerCrashedError` for a process that died by whatever signal
or exit, `NodeDiedError` for a machine whose raylet is gone, for tasks that waited for it too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import platform
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sslbench.engine.base import Ended, Engine, EngineSpec, Job, Loss, Needs, Option, yes_or_no
from sslbench.errors import EngineError

# How long a cluster may take to answer, with the start of the Python process that asks it.
_REACH_SECONDS = 15.0
# How long the list of machines counts; asking costs a message to the head.
_NODES_SECONDS = 5.0
# How long jobs may wait for a machine that can take them, after the last such one was lost: Ray's own restarts take less.
_PATIENCE_SECONDS = 120.0
# Ray ends a process whose head has been gone for a minute, without another word; ours says so before.
_HEAD_SECONDS = 40.0
# Objects of a cluster that is started here: arguments and answers that are under way; what is more goes to disk.
_STORE_BYTES = 256 << 20


class _Begun(NamedTuple):
    """Where a job began: its place, and the file that takes what its process writes."""

    place: str
    log: str


class RayEngine:
    """Runs jobs on the cluster that this process is connected to.

    options: of `ENGINE`. folder: of the run; the logs of lost jobs are kept in its `logs`. Raises EngineError where Ray is not
    installed, cannot be reached or has another version.
    """

    def __init__(self, options: Mapping[str, Any], folder: Path) -> None:
        self._grows = bool(options["grows"])
        self._logs = Path(folder).absolute() / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._jobs: dict[Any, Job] = {}
        self._ended: deque[Ended] = deque()
        self._known: tuple[float, list[dict[str, Any]]] = (0.0, [])
        self._running: tuple[float, int] = (0.0, 0)
        self._told: dict[str, _Begun] = {}
        self._unmet_since: float | None = None
        self._gone_since: float | None = None
        self._undo, self._own = contextlib.ExitStack(), False
        self._connect(str(options["address"]))
        self._closed = False
        self._prepare()

    # Connection -----------------------------------------------------------------------------------------------------

    def _connect(self, address: str) -> None:
        if importlib.util.find_spec("ray") is None:
            raise EngineError('the engine ray needs Ray, which is not installed: pip install "sslbench[ray]"')
        # Read when Ray is imported; it tells its makers of every cluster otherwise.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        if ray.is_initialized():
            if ray.util.client.ray.is_connected():
                raise EngineError(
                    "this process is connected to Ray by Ray's client already, by which jobs cannot be followed"
                )
            return
        address = address or os.environ.get("RAY_ADDRESS", "") or "auto"
        if address.startswith("ray://"):
            raise EngineError(
                f"{address} is an address of Ray's client, by which jobs cannot be followed; run pytest on a machine of "
                "the cluster, by `ray job submit -- python -m pytest ...` from afar, with address=auto or HOST:PORT of the head"
            )
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        if address == "local":
            quiet |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
        else:
            _reach(address)
        self._undo.enter_context(_hushed())
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError) as error:
            self._undo.close()
            raise EngineError(f"the Ray cluster at {address} takes no connection: {_line(error)}") from error
        except RuntimeError as error:
            self._undo.close()
            if "ersion" not in str(error):
                raise EngineError(f"the Ray cluster at {address} takes no connection: {_line(error)}") from error
            raise EngineError(
                f"the Ray cluster at {address} has another Ray or Python than this process, which needs the same ones: "
                f"{_line(error)}"
            ) from error
        self._own = True

    def _prepare(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._here = ray.get_runtime_context().get_node_id()
        self._head = ray.get_runtime_context().gcs_address
        self._run = ray.remote(_remote_run())
        # A process that has used one GPU cannot change to another, and keeps memory of it: with GPUs each job has its own.
        self._run_once = ray.remote(max_calls=1)(_remote_run())
        board = ray.remote(_remote_board())
        # Beside this process, so that it is there as long as anybody asks.
        self._board = board.options(
            num_cpus=0, max_restarts=-1, scheduling_strategy=NodeAffinitySchedulingStrategy(self._here, soft=True)
        ).remote()

    def close(self) -> None:
        """Stop what has not ended; leave the cluster, or end it where it was started here."""
        if self._closed:
            return
        self._closed = True
        import ray

        if self._own:
            # Ray kills what a process that left had asked for.
            ray.shutdown()
        else:
            # Those that were submitted last go first, so that none of them begins when another one is stopped.
            with contextlib.suppress(ray.exceptions.RayError):
                for ref in reversed(self._jobs):
                    ray.cancel(ref, force=True)
                ray.kill(self._board)
        self._jobs.clear()
        self._ended.clear()
        self._undo.close()

    # Machines -------------------------------------------------------------------------------------------------------

    def _nodes(self, seconds: float = _NODES_SECONDS) -> list[dict[str, Any]]:
        """Ray's list of machines, the dead ones too, not older than `seconds`."""
        import ray

        asked, nodes = self._known
        if time.monotonic() - asked > seconds or not nodes:
            nodes = ray.nodes()
            self._known = time.monotonic(), nodes
        return nodes

    def _alive(self, seconds: float = _NODES_SECONDS) -> list[dict[str, Any]]:
        return [node for node in self._nodes(seconds) if node["Alive"]]

    def check(self, needs: Sequence[Needs]) -> None:
        """Raise EngineError where no machine of the cluster could ever meet some of these; all may, of one that grows."""
        for need in dict.fromkeys(needs):
            if need.gpus > 1 and need.gpus != int(need.gpus):
                raise EngineError(f"Ray gives whole GPUs, or a fraction of one: gpus={need.gpus:g} is neither")
            if not self._grows and not any(_meets(node, need) for node in self._alive(0.0)):
                raise EngineError(
                    f"no machine of the Ray cluster could ever run a job of {_told(need)}; it has "
                    f"{'; '.join(_has(node) for node in self._alive())}. Ask for less, add a machine, or say "
                    "--sslbench-engine-options grows=yes where the cluster adds machines as they are asked for"
                )

    @property
    def has_gpus(self) -> bool:
        """Whether any machine has a GPU, as far as Ray knows."""
        return any(node["Resources"].get("GPU", 0) > 0 for node in self._alive())

    def places(self) -> list[str]:
        """The machines that have cores to give; a head without any never runs a job."""
        return [_place(node) for node in self._alive(0.0) if node["Resources"].get("CPU", 0) > 0]

    def _node_of(self, place: str) -> str:
        """Ray's id of a place; of another Ray on the same machine where that one is gone; empty where there is none."""
        alive = self._alive()
        host = place.rpartition("/")[0]
        same = [node["NodeID"] for node in alive if _place(node) == place]
        return next(iter(same + [node["NodeID"] for node in alive if node["NodeManagerHostname"] == host]), "")

    # Jobs -----------------------------------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Hand a job to Ray, which keeps the order of those with the same needs and the same `near`."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        node = self._node_of(job.near) if job.near else ""
        if job.only and not node:
            self._ended.append(
                Ended(job.name, loss=Loss("machine", f"{job.near or 'its place'} is not in the cluster any more"))
            )
            return
        needs = job.needs
        options: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "max_retries": 0, "name": job.name}
        if needs.memory:
            options["memory"] = needs.memory
        if node:
            # A wish is no queue: where the place is full, the job runs elsewhere at once. Ray waits without the last argument.
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(
                node, soft=not job.only, **({} if job.only else {"_spill_on_unavailable": True})
            )
        ref = (
            (self._run_once if needs.gpus else self._run)
            .options(**options)
            .remote(pickle.dumps((job.function, job.argument)), job.name, str(self._logs), needs.cpus, self._board)
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
                raise EngineError(f"the Ray cluster is gone: {_line(error)}") from error
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
            begun = self._begun().get(job.name)
            return Ended(job.name, loss=Loss("machine", _line(error)), place=begun.place if begun else "")
        except exceptions.RayError as error:
            raise EngineError(f"Ray could not run {job.name}: {_line(error)}") from error
        if kind == "missing":
            raise EngineError(
                f"a worker on {place} cannot run sslbench's jobs ({blob.decode()}); install the same sslbench, and whatever "
                "modules the run takes, in the Python of Ray on every machine"
            )
        return Ended(job.name, pickle.loads(blob), place=place)

    def _lost(self, job: Job, error: Exception) -> Ended:
        """The end of a job whose process died; by its machine's death, where that one is not there any more."""
        from ray import exceptions

        begun = self._begun().get(job.name)
        place = begun.place if begun else ""
        if place and place not in [_place(node) for node in self._alive(0.0)]:
            return Ended(job.name, loss=Loss("machine", f"{place} has left the cluster"), place=place)
        if isinstance(error, exceptions.OutOfMemoryError):
            why = _line(error)
        else:
            why = "its process died: it was killed, perhaps for want of memory, or crashed; Ray does not tell which"
        return Ended(job.name, loss=Loss("worker", why, self._log(begun)), place=place)

    def _log(self, begun: _Begun | None) -> str:
        """The end of a log: from here where it can be seen, by a task on its machine where not."""
        if begun is None:
            return ""
        text = _tail(begun.log)
        node = self._node_of(begun.place)
        if text is None and node:
            import ray
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            there = ray.remote(_remote_tail()).options(
                num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            )
            with contextlib.suppress(ray.exceptions.RayError):
                text = ray.get(there.remote(begun.log), timeout=10.0)
        return text or ""

    def _begun(self) -> dict[str, _Begun]:
        """Where the jobs began that have not answered, as far as they could say so."""
        import ray

        try:
            told = {name: _Begun(*begun) for name, begun in ray.get(self._board.all.remote(), timeout=10.0).items()}
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            told = {}
        # Its process may be busy, or was killed too and comes back empty: what it said before is as good.
        self._told = told or self._told
        return self._told

    def running(self) -> int:
        """How many jobs have begun, by their own word of a second ago at most."""
        asked, count = self._running
        if time.monotonic() - asked > 1.0 and self._gone_since is None:
            begun = self._begun()
            count = sum(job.name in begun for job in self._jobs.values())
            self._running = time.monotonic(), count
        return count

    def _look_around(self) -> None:
        """Nothing has ended for a while: raise EngineError where nothing ever will."""
        if not self._head_answers():
            return
        alive = self._alive()
        if self._here not in [node["NodeID"] for node in alive]:
            raise EngineError("Ray's own process on this machine died; start Ray again, and this command")
        needs = dict.fromkeys(job.needs for job in self._jobs.values())
        unmet = [need for need in needs if not any(_meets(node, need) for node in alive)]
        if self._grows or not unmet:
            self._unmet_since = None
            return
        now = time.monotonic()
        self._unmet_since = self._unmet_since or now
        if now - self._unmet_since > _PATIENCE_SECONDS:
            raise EngineError(
                f"for {_PATIENCE_SECONDS:.0f} s no machine of the Ray cluster could run a job of {_told(unmet[0])}; "
                f"it has {'; '.join(_has(node) for node in alive)} left"
            )

    def _head_answers(self) -> bool:
        """Whether the head is there; asked by hand, since Ray's own calls wait for one that is not.

        Raises EngineError when it has been gone for a while.
        """
        host, _, port = self._head.rpartition(":")
        now = time.monotonic()
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
        except OSError as error:
            self._gone_since = self._gone_since or now
            if now - self._gone_since > _HEAD_SECONDS:
                raise EngineError(
                    f"the head of the Ray cluster at {self._head} is gone; start it again, and this command"
                ) from error
            return False
        self._gone_since = None
        return True


# What runs on workers ---------------------------------------------------------------------------------------------------
# Functions inside of functions are sent by value, so that a worker that lacks sslbench can say so itself.


def _remote_run() -> Any:
    def sslbench(blob: bytes, name: str, logs: str, cpus: float, board: Any) -> tuple[str, str, bytes]:
        import sys

        try:
            from sslbench.engine.engines.ray import execute
        except ImportError as error:
            return "missing", __import__("platform").node(), f"{sys.executable}: {error}".encode()
        return execute(blob, name, logs, cpus, board)

    return sslbench


def _remote_board() -> Any:
    class SslbenchBoard:
        """Where running jobs say where they are; what is lost has said so before."""

        def __init__(self) -> None:
            self.begun: dict[str, tuple[str, str]] = {}

        def begin(self, name: str, place: str, log: str) -> None:
            self.begun[name] = (place, log)

        def end(self, name: str) -> None:
            self.begun.pop(name, None)

        def all(self) -> dict[str, tuple[str, str]]:
            return self.begun

    return SslbenchBoard


def _remote_tail() -> Any:
    def sslbench_log(path: str) -> str | None:
        from sslbench.engine.engines.ray import _tail

        return _tail(path)

    return sslbench_log


def execute(blob: bytes, name: str, logs: str, cpus: float, board: Any) -> tuple[str, str, bytes]:
    """In a worker: run a job, with its threads, and a log that is kept only where the job is lost.

    Returns `("answer", place, pickled answer)`, or `("missing", place, why)` where the job cannot be unpickled here.
    """
    import ray

    place = f"{platform.node()}/{ray.get_runtime_context().get_node_id()[:8]}"
    path = _log_file(Path(logs), name)
    # Not waited for: Ray would lend this job's cores to another one meanwhile.
    board.begin.remote(name, place, str(path))
    _limit_threads(max(1, int(cpus)))
    with _written_to(path):
        try:
            function, argument = pickle.loads(blob)
        except (ImportError, AttributeError) as error:
            return "missing", place, f"{sys.executable}: {error}".encode()
        answer = pickle.dumps(function(argument), protocol=5)
    # Not where it was raised through: at a polite signal, by which a machine is taken away, Ray exits like that.
    board.end.remote(name)
    path.unlink(missing_ok=True)
    return "answer", place, answer


def _log_file(logs: Path, name: str) -> Path:
    """In the run's folder where this machine sees it, else among this machine's temporary files."""
    import hashlib
    import re
    import tempfile

    short = f"{re.sub(r'[^A-Za-z0-9.=-]+', '_', name)[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.log"
    if logs.is_dir() and os.access(logs, os.W_OK):
        return logs / short
    handle, path = tempfile.mkstemp(prefix="sslbench-", suffix=f"-{short}")
    os.close(handle)
    return Path(path)


@contextlib.contextmanager
def _written_to(path: Path) -> Iterator[None]:
    """All that this process writes goes to a file, the traceback of a crash in native code too."""
    import faulthandler

    with path.open("wb", buffering=0) as log:
        sys.stdout.flush()
        sys.stderr.flush()
        before = os.dup(1), os.dup(2)
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            faulthandler.enable(2)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for there, number in zip(before, (1, 2), strict=True):
                os.dup2(there, number)
                os.close(there)


def _limit_threads(count: int) -> None:
    """So many threads in libraries that are loaded later, and in those that a former job loaded."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(count)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)
    from threadpoolctl import threadpool_limits

    threadpool_limits(count)


# Words ------------------------------------------------------------------------------------------------------------------


def _reach(address: str) -> None:
    """Raise EngineError where no Ray answers: `ray.init` itself tries for minutes."""
    host, _, port = address.rpartition(":")
    advice = (
        "start one (`ray start --head`), give its head's address, HOST:PORT, or address=local for one on this machine"
    )
    if address != "auto":
        if not (host and port.isdigit()):
            raise EngineError(f"expected auto, local or HOST:PORT for the address of a Ray cluster, got {address!r}")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
        except (OSError, OverflowError) as error:
            raise EngineError(f"no Ray cluster at {address} ({error}): {advice}") from error
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", *(["--address", address] if host else [])]
    try:
        told = subprocess.run(command, capture_output=True, timeout=_REACH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"what listens at {address} does not answer as a Ray cluster does within {_REACH_SECONDS:.0f} s: {advice}"
        ) from error
    if told.returncode:
        raise EngineError(
            f"no Ray cluster runs here that {address} could mean: {advice}"
            if not host
            else f"no healthy Ray cluster at {address}: {advice}"
        )


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Without what Ray prints to the terminal of every lost process, twenty lines each, whatever one asks of its logs.

    There is no setting for it (Ray 2.60, `listen_error_messages`), so the function that prints is replaced where it is found.
    """
    from ray._private import worker

    before = getattr(worker, "print_to_stdstream", None)
    if before is None:
        yield
        return
    worker.print_to_stdstream = lambda *_arguments, **_options: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


def _place(node: Mapping[str, Any]) -> str:
    """A machine's name, and which Ray on it: there may be several."""
    return f"{node['NodeManagerHostname']}/{node['NodeID'][:8]}"


def _meets(node: Mapping[str, Any], need: Needs) -> bool:
    has = node["Resources"]
    asked = {"CPU": need.cpus, "GPU": need.gpus, "memory": need.memory}
    return all(has.get(name, 0) >= amount for name, amount in asked.items())


def _has(node: Mapping[str, Any]) -> str:
    has = node["Resources"]
    gpus = f"{has.get('GPU', 0):g} GPUs, " if has.get("GPU") else "no GPU, "
    return f"{_place(node)}: {gpus}{has.get('CPU', 0):g} cores, {has.get('memory', 0) / 1e9:.1f} GB"


def _told(need: Needs) -> str:
    memory = f" and {need.memory / 1e9:.1f} GB" if need.memory else ""
    return f"{need.gpus:g} GPUs, {need.cpus:g} cores{memory}"


def _line(error: BaseException) -> str:
    """What an exception says, on one line of bearable length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 500 else f"{text[:500]}..."


def _tail(path: str, size: int = 8000) -> str | None:
    """The end of a text file; None where it is not there."""
    try:
        return Path(path).read_bytes()[-size:].decode("utf-8", "replace")
    except OSError:
        return None


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
