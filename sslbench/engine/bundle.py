"""Several jobs in one process, one after the other; files tell when each begins and how it ends."""

from __future__ import annotations

import faulthandler
import gc
import pickle
import platform
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslbench.engine.base import Job
from sslbench.files import write_atomic

BEGUN, ENDED, LEFT = ".begun", ".ended", ".left"
"""Endings of a member's files: its machine's name; a pickle of (answer, exception or None); nothing, where it was not begun."""


def run_bundle(folder: str, members: Sequence[tuple[str, bytes]], seconds: float) -> None:
    """Run jobs, and write to `folder` how each ends before the next begins.

    members: (key, pickled `Job`); `KEY.begun` and `KEY.ended` are written. seconds: that this process has. In their second
    half no further member is begun (`KEY.left`), since it would hardly end. What a job raises is handed over as it is; what
    ends the process leaves the job without its end.
    """
    faulthandler.enable()
    # submitit ignores SIGTERM, so that a cancelled process would be shot after Slurm's KillWait, and answers the other with an
    # exception in the middle of a job, which would look like the job's own.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    place, middle = platform.node(), time.monotonic() + seconds / 2
    for number, (key, content) in enumerate(members):
        if number and time.monotonic() > middle:
            for left, _ in members[number:]:
                (Path(folder) / f"{left}{LEFT}").touch()
            return
        print(marker(key), file=sys.stderr, flush=True)
        write_atomic(Path(folder) / f"{key}{BEGUN}", place.encode())
        write_atomic(Path(folder) / f"{key}{ENDED}", _ended(content))
        # What a case leaves in cycles would add to the next one's memory.
        gc.collect()


def marker(key: str) -> str:
    """The line of the log above what a member writes."""
    return f"---- sslbench job {key}"


def read_ended(path: Path) -> Any:
    """A member's answer. Raises what the job raised."""
    answer, error = pickle.loads(path.read_bytes())
    if error is not None:
        raise error
    return answer


def _ended(content: bytes) -> bytes:
    try:
        job: Job = pickle.loads(content)
        return pickle.dumps((job.function(job.argument), None))
    except Exception as error:  # noqa: BLE001 the controller raises it, whatever it is
        error.add_note(f"on {platform.node()}:\n{traceback.format_exc()}")
        try:
            content = pickle.dumps((None, error))
            pickle.loads(content)
        except Exception:  # noqa: BLE001 an exception with arguments of its own need not come out of a pickle
            content = pickle.dumps((None, RuntimeError("".join(traceback.format_exception(error)))))
        return content
