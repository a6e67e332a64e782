"""Who may do something, told by a number that is counted up and by no clock but one's own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sslbench.store.lease import Holder, Lease
from sslbench.store.store import Store
from tests.store.faulty import FaultyFileSystem

NEVER = 1e6


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lease(store: Store, clock: Clock | None = None, beat: float = NEVER) -> Lease:
    return Lease(store, "leases/x", beat=beat, dead=60.0, clock=clock or Clock())


def test_one_has_it_until_it_is_released(store: Store) -> None:
    first, second = lease(store), lease(store)
    assert first.take() and not second.take()
    assert second.holder is not None and f"process {second.holder.pid} on {second.holder.host}, since " in str(
        second.holder
    )
    first.release(remove=True)
    assert store.names() == {}
    assert second.take() and not first.take()
    second.release(remove=False)
    assert first.take()
    # The number goes on, and what came before is gone.
    assert store.names().keys() == {"leases/x/00000002"}
    first.release(remove=True)


def test_a_dead_holder_is_told_by_the_waiters_own_clock(store: Store) -> None:
    clock = Clock()
    dead, waiter = lease(store), lease(store, clock)
    assert dead.take() and not waiter.take()
    clock.now = 59.0
    assert not waiter.take()
    clock.now = 60.0
    assert waiter.take()
    waiter.release(remove=True)


def test_a_holder_that_counts_is_never_dead_however_late_its_clock(store: Store) -> None:
    clock = Clock()
    waiter = lease(store, clock)
    alive = Holder("host", 1, "1970-01-01", "token")
    for beat in range(5):
        store.write("leases/x/00000007", Holder(**{**vars(alive), "beat": beat}).to_bytes())
        assert not waiter.take()
        assert waiter.moved == (beat > 0)
        clock.now += 59.0
        assert not waiter.take()


def test_the_thread_counts_and_finds_that_the_lease_is_lost(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}")
    holder = lease(store, beat=0.01)
    assert holder.take()
    waiter, look = lease(store), threading.Event()
    for _ in range(3000):
        waiter.take()
        if waiter.moved:
            break
        look.wait(0.01)
    assert waiter.moved and not holder.lost
    store.write("leases/x/00000002", b"{}")
    assert holder._thread is not None
    holder._thread.join(60)
    assert holder.lost
    holder.release(remove=True)
    assert "leases/x/00000002" in store.names()


def overslept(store: Store, beat: float) -> tuple[Lease, Lease]:
    """A holder that its waiter's clock has found dead, and the waiter, who has the lease now. beat: of the holder."""
    clock = Clock()
    holder, waiter = lease(store, beat=beat), lease(store, clock)
    assert holder.take() and not waiter.take()
    clock.now = 60.0
    assert waiter.take()
    return holder, waiter


def test_a_holder_that_overslept_lets_its_successor_be(store: Store) -> None:
    holder, successor = overslept(store, NEVER)
    there = store.names()
    # It has had no beat to find that out.
    assert not holder.lost
    holder.release(remove=True)
    assert holder.lost and holder.taken_by is not None and store.names() == there
    successor.release(remove=True)
    assert store.names() == {} and not successor.lost


def test_numbers_that_began_again_are_told_from_ones_own(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}")
    holder, successor = overslept(store, NEVER)
    successor.release(remove=True)
    third = lease(store)
    assert third.take()
    there = store.names()
    assert there.keys() == {"leases/x/00000001"}
    # Its next beat.
    holder._beat = 0.0
    holder._live()
    assert holder.lost and holder.taken_by == Holder.from_bytes(store.read("leases/x/00000001"))
    holder.release(remove=True)
    assert store.names() == there


def test_of_two_who_find_a_dead_holder_one_has_its_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    dead, first, second = lease(store), lease(store, clock), lease(store, clock)
    assert dead.take() and not first.take() and not second.take()
    clock.now = 60.0
    seen = store.names("leases/x/")
    assert first.take()
    # The second one had looked before the first one came.
    data = Holder.from_bytes(store.read("leases/x/00000002"))
    assert data is not None
    monkeypatch.setattr(second, "_last", lambda: (1, second.holder))
    assert seen.keys() == {"leases/x/00000001"} and not second.take()
    monkeypatch.undo()
    assert not second.take()


def test_a_damaged_lease_counts_as_held_until_it_has_not_changed_for_long(store: Store) -> None:
    clock = Clock()
    store.write("leases/x/00000003", b"{ half")
    waiter = lease(store, clock)
    assert not waiter.take() and waiter.holder is None
    clock.now = 61.0
    assert waiter.take() and store.names().keys() == {"leases/x/00000004"}


@pytest.mark.parametrize("seed", range(6))
def test_answers_that_are_lost_make_no_second_holder(faulty: Store, seed: int) -> None:
    FaultyFileSystem.behave(seed, rate=0.5)
    for _ in range(5):
        both = [lease(faulty), lease(faulty)]
        assert [each.take() for each in both] == [True, False]
        both[0].release(remove=seed % 2 == 0)
