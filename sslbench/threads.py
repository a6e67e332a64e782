"""How many threads the numerics take: what this process may use, and one while other programs want the cores too.

OpenMP's threads wait for each other by spinning. Where another program holds a core, each of the tens of thousands of short
parallel steps of a solver then lasts until the scheduler turns round, and all of it up to fifty times as long as on one thread.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Of the time in which a thread could run, the share that it waits for a core: with as many busy programs as cores it is a half;
# beside a program that wakes now and then, a few hundredths.
_CROWDED = 0.15
# A look costs 20 microseconds; a shorter time than this tells more of the scheduler's turns than of the machine.
_LOOK_SECONDS = 0.03
# How long one thread is kept before several are tried again.
_ALONE_SECONDS = 1.0

_CGROUP = Path("/sys/fs/cgroup")
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def usable_cores() -> int:
    """Cores by affinity and by the control group's quota, whichever is less; one at least."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cores, math.ceil(_quota() or cores))))


def _quota() -> float | None:
    """Cores' worth of time that the control group grants; None where it grants all."""
    for quota, period in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = (_CGROUP / quota).read_text().split()
            words += (_CGROUP / period).read_text().split() if period else []
            granted, each = float(words[0]), float(words[1])
        except (OSError, ValueError, IndexError):
            continue
        if granted > 0 and each > 0:
            return granted / each
    return None


def share_cores(workers: int = 1) -> int:
    """Lower torch's threads to this process's share of the usable cores; returns their number.

    Never raises it: a number that the user has chosen, by `OMP_NUM_THREADS` or `torch.set_num_threads`, stays an upper limit.
    """
    import torch

    share = max(1, usable_cores() // workers)
    if torch.get_num_threads() > share:
        torch.set_num_threads(share)
    return torch.get_num_threads()


def describe() -> str:
    """What holds in this process, in a line."""
    import torch

    quota = _quota()
    chosen = [f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ]
    watched = run_and_wait() is not None
    return ", ".join(
        [
            f"{min(torch.get_num_threads(), usable_cores())} threads on {usable_cores()} usable of {os.cpu_count()} cores",
            *([f"quota of {quota:g} cores"] if quota is not None else []),
            *chosen,
            "one thread while others want the cores" if watched else "others who want the cores are not noticed here",
        ]
    )


class _Crowding(threading.local):
    """Whether the cores are crowded, by how long this thread has waited for one since the last look.

    several: how many threads there are to be while they are not; None outside of `giving_way`.
    """

    def __init__(self) -> None:
        self.crowded, self._looked, self._before = False, -math.inf, (0, 0)
        self.several: int | None = None

    def look(self) -> bool:
        """Look again if the last time was long enough ago; the first look is at the thread's whole life."""
        now = time.perf_counter()
        # A look costs as much as several of the products between which it may be asked for.
        if now - self._looked < (_ALONE_SECONDS if self.crowded else _LOOK_SECONDS):
            return self.crowded
        self._looked, after = now, run_and_wait()
        if after is not None:
            run, wait = after[0] - self._before[0], after[1] - self._before[1]
            self.crowded = wait > _CROWDED * (run + wait)
            self._before = after
        return self.crowded


_crowding = _Crowding()


@contextlib.contextmanager
def giving_way() -> Iterator[Callable[[], None]]:
    """Goes down to one thread while the cores are crowded; hands out `look`, to be called between pieces of work.

    It goes back to several a second later if they are not any more, and at the end. Nothing is done where the system does not
    tell how long a thread has waited, or with one thread.
    """
    import torch

    # Inside of another such block the present number may be that of a crowded moment.
    outer = _crowding.several
    several = uncrowded()
    try:
        _crowding.several = several
        look()
        yield look
    finally:
        _crowding.several = outer
        if outer is None:
            torch.set_num_threads(several)


def uncrowded() -> int:
    """How many threads this process takes when no other program wants the cores, whatever it takes now."""
    import torch

    return _crowding.several or torch.get_num_threads()


def look() -> None:
    """Between two pieces of work inside of `giving_way`: one thread or several, as the cores are crowded by now."""
    import torch

    if _crowding.several is not None:
        wanted = 1 if _crowding.look() else _crowding.several
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)


def run_and_wait() -> tuple[int, int] | None:
    """Nanoseconds that this thread has run, and that it has waited for a core; None where the system does not tell."""
    try:
        run, wait, _ = Path("/proc/thread-self/schedstat").read_text().split()
        return int(run), int(wait)
    except (OSError, ValueError):
        return None
