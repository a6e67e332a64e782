"""Temporary folders of one process, removed when it ends, and after it was killed by the next process that makes one."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout


def private_folder(prefix: str) -> Path:
    """A new folder whose name begins so; those that killed processes have left are removed now."""
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        _remove_unless_used(left)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    lock = FileLock(folder / "in-use")
    lock.acquire()
    _locks.append(lock)
    owner = os.getpid()
    atexit.register(_at_end, owner, lambda: shutil.rmtree(folder, ignore_errors=True))
    return folder


# Held as long as the process lives.
_locks: list[FileLock] = []


def _at_end(owner: int, work: Callable[[], None]) -> None:
    # A forked child has the parent's duties in its list.
    if os.getpid() == owner:
        work()


def _remove_unless_used(folder: Path) -> None:
    try:
        if folder.lstat().st_uid != os.getuid() or not (folder / "in-use").is_file():
            return
        with FileLock(folder / "in-use", timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError):
        return
