"""Cache files that are shared through a store: a store that fails costs a warning and the sharing, never the run."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from sslbench.errors import CacheWarning, StoreError
from sslbench.store import lease as leases
from sslbench.store.store import Store

POLL = 5.0
# So long a store is left alone that did not answer: each file would wait for all tries again.
PAUSE = 60.0

_COMPUTED = "What cannot be read there is computed here"

T = TypeVar("T")


class SharedFiles:
    """Files of a local cache by their names in a store.

    What was fetched is the caller's to check. The first read and the first write that fail are told with a CacheWarning each.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._there: set[str] = set()
        self._told: set[str] = set()
        self._rejected: dict[tuple[str, ...], list[str | None]] = {}
        self._paused_until = 0.0
        self._checked = False

    def check(self) -> None:
        """As of the store, once in a process. Raises StoreError."""
        if not self._checked:
            self.store.check()
            self._checked = True

    def fetch(self, name: str, into: Path) -> bool:
        """Copy an object to a file; False where it is not there, or the store fails."""
        if self._paused:
            return False
        try:
            found = self.store.get(name, into)
        except StoreError as error:
            self._failed("read", f"{error}. {_COMPUTED}")
            return False
        if found:
            self._there.add(name)
        return found

    def reject(self, *names: str) -> None:
        """Say that these objects, fetched together, are damaged."""
        self._rejected[names] = self._versions(names)

    def is_rejected(self, *names: str) -> bool:
        """Whether they were damaged and have not been written again: they are not worth another look."""
        return names in self._rejected and self._versions(names) == self._rejected[names]

    def _versions(self, names: Sequence[str]) -> list[str | None]:
        with contextlib.suppress(StoreError):
            return [self.store.names(name).get(name) for name in names]
        return []

    def share(self, path: Path, name: str, *, replace: bool = False) -> None:
        """Copy a file to an object, if there is none yet. replace: in any case."""
        if self._paused or (name in self._there and not replace):
            return
        try:
            if replace or self.store.size(name) is None:
                self.store.put(path, name)
            self._there.add(name)
        except FileNotFoundError:
            # Somebody has cleaned the local cache meanwhile.
            return
        except StoreError as error:
            self._failed(
                "write", f"{error}. The run goes on with the local cache; a later one shares what it finds there"
            )

    def has(self, name: str) -> bool:
        """Whether an object is there; False where the store fails, which is told as by `fetch`."""
        if self._paused:
            return False
        try:
            return self.store.size(name) is not None
        except StoreError as error:
            self._failed("read", f"{error}. {_COMPUTED}")
            return False

    def forget(self, name: str) -> None:
        """Remove an object, if the store answers."""
        if not self._paused:
            with contextlib.suppress(StoreError):
                self.store.delete(name)

    def is_busy(self, lease: str) -> bool:
        """Whether some process seems to hold a lease; one that is dead does so too."""
        if self._paused:
            return False
        with contextlib.suppress(StoreError):
            return bool(self.store.names(f"leases/{lease}/"))
        return False

    @contextlib.contextmanager
    def turn(self, lease: str, arrived: Callable[[], T | None]) -> Iterator[T | None]:
        """Wait while another machine holds the lease of what is to be made; gives what has `arrived`, or None to make it now.

        The wait ends when the thing arrives, or its maker is dead. A maker that was only suspended, or cut off, goes on, so that
        it is made twice, which is no harm: what is made follows from its name, and objects are replaced whole.
        """
        held = leases.Lease(self.store, f"leases/{lease}", beat=leases.BEAT, dead=leases.DEAD)
        try:
            yield self._waited(held, arrived)
        finally:
            with contextlib.suppress(StoreError):
                held.release(remove=True)

    def _waited(self, held: leases.Lease, arrived: Callable[[], T | None]) -> T | None:
        while not self._paused:
            try:
                taken = held.take()
            except StoreError:
                # To make a thing twice is no harm.
                return None
            # Also once the lease is had: its last holder may have ended since the look before.
            if (found := arrived()) is not None or taken:
                return found
            time.sleep(POLL)
        return None

    @property
    def _paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def _failed(self, kind: str, message: str) -> None:
        self._paused_until = time.monotonic() + PAUSE
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(f"{message} (told once)", CacheWarning, stacklevel=4)


@lru_cache(maxsize=8)
def shared_files(url: str) -> SharedFiles:
    """One for each URL in a process, so that a store that fails is told once. Raises StoreError for what is no URL."""
    return SharedFiles(Store(url))
