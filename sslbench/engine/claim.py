"""One controller for one run: the lease of a run directory or of a run in a store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from sslbench.errors import EngineError, StoreError
from sslbench.files import write_atomic
from sslbench.results.runs import Run
from sslbench.results.shared_run import SharedRun
from sslbench.store import lease as leases
from sslbench.store.lease import Holder, this_process
from sslbench.store.store import Store

_LEASE = "leases/controller"
_LOOK_SECONDS = 1.0


@contextlib.contextmanager
def claim(what: Run | Path | Store) -> Iterator[Callable[[], None]]:
    """Hold a run while the block runs. Raises EngineError that names who holds it where another process does.

    Gives a function that raises EngineError once the run has been lost to another process, for whoever submits work to it.

    what: a run directory, a run (a `SharedRun` by its store), or a store. A directory's lease ends with its process, whatever
    kills that. A store's is counted up by its holder: one that lives is told from a dead one within seconds, and a dead one's is
    taken over after a minute. So is that of one which was suspended, or cut off from the store, for as long: it finds that out at
    its next beat. As long as it cannot ask, it goes on: a store that fails does not end a run.
    """
    if isinstance(what, SharedRun):
        what = what.store
    elif isinstance(what, Run):
        what = what.directory
    with _claimed_store(what) if isinstance(what, Store) else _claimed_folder(what) as check:
        yield check


@contextlib.contextmanager
def _claimed_folder(folder: Path) -> Iterator[Callable[[], None]]:
    lock, says = FileLock(folder / ".lease.lock"), folder / ".lease.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        holder = Holder.from_bytes(says.read_bytes() if says.exists() else None)
        raise _held(str(folder), holder) from error
    except OSError as error:
        raise EngineError(
            f"the run {folder} cannot be locked: {error}; choose another place with --sslbench-results"
        ) from error
    try:
        # For people: what holds is the lock.
        with contextlib.suppress(OSError):
            write_atomic(says, this_process().to_bytes())
        yield lambda: None
    finally:
        with contextlib.suppress(OSError):
            says.unlink()
        lock.release()


@contextlib.contextmanager
def _claimed_store(store: Store) -> Iterator[Callable[[], None]]:
    lease = leases.Lease(store, _LEASE, beat=leases.BEAT, dead=leases.DEAD)
    while not lease.take():
        if lease.moved:
            raise _held(store.url, lease.holder)
        time.sleep(_LOOK_SECONDS)

    def check() -> None:
        if lease.lost:
            deleted = "" if lease.taken_by is not None else f", or its lease, {_LEASE}/, was deleted there"
            raise EngineError(
                f"the run {store.url} was taken over {_by(lease.taken_by)}, since this session was suspended, or cut off from "
                f"it, for more than {leases.DEAD:.0f} s{deleted}. This session has been stopped, and what had ended is kept; "
                "when no other one has the run, the same command goes on from there"
            )

    try:
        yield check
    finally:
        # Who comes next waits for a minute then, and takes it over.
        with contextlib.suppress(StoreError):
            lease.release(remove=False)


def _held(where: str, holder: Holder | None) -> EngineError:
    return EngineError(
        f"the run {where} is held {_by(holder)}, which hands out its cases; wait for it or end it, or choose another place with "
        "--sslbench-results"
    )


def _by(holder: Holder | None) -> str:
    return f"by {holder}" if holder is not None else "by another process"
