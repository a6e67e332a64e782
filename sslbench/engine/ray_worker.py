"""What runs on the machines of a Ray cluster: a job with its threads and its log."""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sslbench.engine.ray_machines import place_name


def remote_run() -> Any:
    """The function for Ray: `execute`, sent by value, so that a worker that lacks sslbench can say so itself."""

    def sslbench(blob: bytes, name: str, logs: str, cpus: float, board: Any) -> tuple[str, str, bytes]:
        import sys

        try:
            from sslbench.engine.ray_worker import execute
        except ImportError as error:
            import platform

            import ray

            # As `place_name`, which is not to be had.
            place = f"{platform.node()}/{ray.get_runtime_context().get_node_id()[:8]}"
            return "missing", place, f"{sys.executable}: {error}".encode()
        return execute(blob, name, logs, cpus, board)

    return sslbench


def execute(blob: bytes, name: str, logs: str, cpus: float, board: Any) -> tuple[str, str, bytes]:
    """In a worker: run a job, with its threads, and a log that is kept only where the job is lost.

    Returns `("answer", place, pickled answer)`, or `("missing", place, why)` where the job cannot be unpickled here.
    """
    import ray

    place = place_name(platform.node(), ray.get_runtime_context().get_node_id())
    path = _log_file(Path(logs), name)
    # Not waited for: Ray would lend this job's cores to another one meanwhile.
    board.begin.remote(name, place, str(path))
    _limit_threads(max(1, int(cpus)))
    with _written_to(path), _terminable():
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


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, by which a machine is taken away, ends this process and is not an answer of the job.

    Ray's own handler raises SystemExit in the middle of the job, which would look like one of the user's code.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        # Ray would call it a cancelled job.
        sys.exit(1)
    finally:
        signal.signal(signal.SIGTERM, before)


def _limit_threads(count: int) -> None:
    """So many threads in libraries that are loaded later, and in those that a former job loaded."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(count)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)
    from threadpoolctl import threadpool_limits

    threadpool_limits(count)
