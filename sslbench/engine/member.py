"""One job of a bundle, and the files that tell when it begins and how it ends."""

from __future__ import annotations

import faulthandler
import os
import pickle
import platform
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from sslbench.engine.base import Job, Loss
from sslbench.files import read_end, write_atomic

BEGUN, ENDED, LEFT = ".begun", ".ended", ".left"
"""Endings of a member's files: see `read_begun` and `read_ended`; the last one is empty, where it was not begun."""


def set_up_process() -> None:
    """Prepare this process for members: what signals do, and a traceback where one ends it."""
    faulthandler.enable()
    # submitit ignores SIGTERM, so that a cancelled process would be shot after Slurm's KillWait, and answers the other with an
    # exception in the middle of a job, which would look like the job's own.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    # `ProcessCluster` keeps it from the process that watches over this one, which hands that on.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def run_member(folder: Path, key: str, content: bytes, log: str = "") -> None:
    """Run a job. What it raises is handed over as it is; what ends the process leaves the job without its end.

    content: a pickled `Job`. log: the file in `folder` that takes what this process writes, empty for the log of the bundle.
    """
    print(marker(key), file=sys.stderr, flush=True)
    # Slurm may call a machine otherwise than it calls itself.
    place = os.environ.get("SLURMD_NODENAME") or platform.node()
    write_atomic(folder / f"{key}{BEGUN}", f"{place}\n{log}".encode())
    write_atomic(folder / f"{key}{ENDED}", _ended(content))


def write_loss(folder: Path, key: str, loss: Loss) -> None:
    """Say of a member that its process died, unless it has said itself how it ended."""
    path = folder / f"{key}{ENDED}"
    if not path.exists():
        write_atomic(path, pickle.dumps((None, None, loss)))


def read_begun(folder: Path, key: str) -> tuple[str, str]:
    """The machine of a member and its log, as of `run_member`; empty where it has not begun."""
    try:
        place, _, log = (folder / f"{key}{BEGUN}").read_text().partition("\n")
    except OSError:
        return "", ""
    return place, log


def read_ended(path: Path) -> tuple[Any, Loss | None]:
    """A member's answer, or its loss. Raises what the job raised."""
    answer, error, loss = pickle.loads(path.read_bytes())
    if error is not None:
        raise error
    return answer, loss


def marker(key: str) -> str:
    """The line of the log above what a member writes."""
    return f"---- sslbench job {key}"


def end_of_log(path: Path, key: str) -> str:
    """The end of what a member wrote; of the whole log where it did not come to its marker."""
    try:
        text = read_end(path)
    except OSError as error:
        return f"its log cannot be read: {error}"
    return text.rpartition(marker(key))[2].strip()


def _ended(content: bytes) -> bytes:
    try:
        job: Job = pickle.loads(content)
        return pickle.dumps((job.function(job.argument), None, None))
    except Exception as error:  # noqa: BLE001 the controller raises it, whatever it is
        error.add_note(f"on {platform.node()}:\n{traceback.format_exc()}")
        try:
            content = pickle.dumps((None, error, None))
            pickle.loads(content)
        except Exception:  # noqa: BLE001 an exception with arguments of its own need not come out of a pickle
            content = pickle.dumps((None, RuntimeError("".join(traceback.format_exception(error))), None))
        return content
