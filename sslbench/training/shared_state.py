"""The state of a training in a store, so that another machine goes on where one was taken away."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sslbench.errors import StoreError
from sslbench.store.shared import SharedFiles

# A state may be large, and what is lost is no more than so long.
PUSH_SECONDS = 300.0
_LOOK_SECONDS = 15.0


@contextlib.contextmanager
def pushed_state(folder: Path, name: str, store: SharedFiles) -> Iterator[bool]:
    """While the block trains with `folder / "state.pt"`, copy that file to the store now and then.

    Where there is none, the store's is fetched before. Gives whether it was.
    """
    path, name = folder / "state.pt", f"{name}/state.pt"
    fetched = not path.exists() and store.fetch(name, path)
    end = threading.Event()
    thread = threading.Thread(target=_push, args=(path, name, store, end), name="sslbench-state", daemon=True)
    thread.start()
    try:
        yield fetched
    finally:
        end.set()
        thread.join()


def _push(path: Path, name: str, store: SharedFiles, end: threading.Event) -> None:
    pushed, known = time.monotonic(), _written(path)
    while not end.wait(min(_LOOK_SECONDS, PUSH_SECONDS)):
        if time.monotonic() - pushed < PUSH_SECONDS or (now := _written(path)) in (None, known):
            continue
        # A second name: the training replaces the file meanwhile, and what is copied has to be one of its versions.
        still = path.with_name(f"{path.name}.push.tmp")
        # What fails is not told from this thread: the result is shared in the end, or that is told.
        with contextlib.suppress(OSError, StoreError):
            still.unlink(missing_ok=True)
            os.link(path, still)
            store.store.put(still, name)
            still.unlink()
        pushed, known = time.monotonic(), now


def _written(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(FileNotFoundError):
        status = path.stat()
        return status.st_mtime_ns, status.st_ino
    return None
