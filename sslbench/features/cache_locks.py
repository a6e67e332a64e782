"""The lock files beside what the cache keeps."""

from __future__ import annotations

import contextlib
from pathlib import Path

from filelock import FileLock, Timeout


def lock_of(path: Path) -> Path:
    """The lock of a file `KEY.EXTENSION` or a folder `KEY`, or of what is being written to it under a temporary name."""
    return path.with_name(f"{path.name.partition('.')[0]}.lock")


def is_locked(lock: Path) -> bool:
    """Whether a process is at work under it."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def remove_lock(lock: Path) -> None:
    """Remove it unless a process holds it."""
    # While it is held here, so that nobody takes it between the look and the removal; who waits for it makes a new one.
    with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):
        lock.unlink(missing_ok=True)
