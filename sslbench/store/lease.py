"""Leases: who may do something, among processes that share nothing but a store."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from sslbench.errors import StoreError
from sslbench.store.store import Store

BEAT = 10.0
DEAD = 60.0


@dataclass(frozen=True)
class Holder:
    """Who holds a lease. token: unlike any other's. beat: counted up while it lives. since: by its own clock, for people."""

    host: str
    pid: int
    since: str
    token: str
    beat: int = 0
    released: bool = False

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes | None) -> Holder | None:
        """None for what is no such thing, or not whole."""
        try:
            return cls(**json.loads(data or b""))
        except (ValueError, TypeError):
            return None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def this_process() -> Holder:
    """This process as one that holds something from now on."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return Holder(platform.node(), os.getpid(), since, secrets.token_hex(8))


class Lease:
    """The objects `NAME/00000001`, `NAME/00000002` and so on, of which the last one counts.

    Each is created by one process, which alone succeeds, and counts a number in it up as long as it lives. Whoever waits looks at
    that number: when it has not changed for `dead` seconds of the waiter's own clock, the next object may be created. No two
    clocks are compared, and nothing is deleted that may have become somebody else's.

    lost: a holder that did not count for so long (a suspended machine, a network that was gone) has found at its next beat that
    its object is not the last one any more. What must not be done twice looks at that and stops; what may be, goes on. taken_by:
    who holds it then, as far as can be told. moved: the calls of `take` have seen the holder count.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        beat: float = BEAT,
        dead: float = DEAD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._prefix = store, f"{name}/"
        self._beat, self._dead, self._clock = beat, dead, clock
        self._mine: tuple[int, Holder] | None = None
        self._seen: tuple[tuple[int, Holder | None], float] | None = None
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = self.moved = False
        self.taken_by: Holder | None = None

    @property
    def holder(self) -> Holder | None:
        """The one that the last `take` found."""
        return self._seen[0][1] if self._seen is not None else None

    def take(self) -> bool:
        """Take the lease if it is free, or its holder is dead as far as the calls of this can tell. Raises StoreError."""
        epoch, holder = self._last()
        if holder is not None and holder.released:
            pass
        elif epoch and not self._is_dead(epoch, holder):
            return False
        mine = this_process()
        if not self._store.create(self._name(epoch + 1), mine.to_bytes()):
            return False
        self._mine = (epoch + 1, mine)
        for name in self._store.names(self._prefix):
            if _epoch(name) <= epoch:
                self._store.delete(name)
        self._thread = threading.Thread(target=self._live, name="sslbench-lease", daemon=True)
        self._thread.start()
        return True

    def release(self, *, remove: bool) -> None:
        """Let go of it. remove: nothing stays; else an object that says so, by which its number is never used again."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(5)
        if self._mine is None or self.lost or self._has_lost_it(*self._mine):
            return
        epoch, mine = self._mine
        if remove:
            self._store.delete(self._name(epoch))
        else:
            self._store.write(self._name(epoch), replace(mine, released=True).to_bytes())
        self._mine = None

    def _is_dead(self, epoch: int, holder: Holder | None) -> bool:
        now, found = self._clock(), (epoch, holder)
        if self._seen is None or self._seen[0] != found:
            self.moved = self._seen is not None and self._seen[0][0] == epoch
            self._seen = (found, now)
            return False
        return now - self._seen[1] >= self._dead

    def _last(self) -> tuple[int, Holder | None]:
        epoch = max(map(_epoch, self._store.names(self._prefix)), default=0)
        return epoch, Holder.from_bytes(self._store.read(self._name(epoch))) if epoch else None

    def _name(self, epoch: int) -> str:
        return f"{self._prefix}{epoch:08d}"

    def _live(self) -> None:
        assert self._mine is not None
        epoch, mine = self._mine
        while not self._end.wait(self._beat):
            # A store that does not answer now may do so at the next beat.
            with contextlib.suppress(StoreError):
                if self._has_lost_it(epoch, mine):
                    return
                mine = replace(mine, beat=mine.beat + 1)
                self._store.write(self._name(epoch), mine.to_bytes())

    def _has_lost_it(self, epoch: int, mine: Holder) -> bool:
        """Look, and say so. Who took it over may have ended and left nothing, after which the numbers begin again."""
        last, holder = self._last()
        if last == epoch and holder is not None and holder.token == mine.token:
            return False
        self.taken_by, self.lost = holder, True
        return True


def _epoch(name: str) -> int:
    number = name.rpartition("/")[2]
    return int(number) if number.isdecimal() else 0
