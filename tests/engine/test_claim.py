"""Two controllers on one run: the second is refused, and a dead one is no hindrance."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sslbench.engine import claim as module
from sslbench.engine.claim import claim
from sslbench.errors import EngineError
from sslbench.results.runs import Run
from sslbench.results.shared_run import run_at
from sslbench.store import lease
from sslbench.store.store import Store

HOLDS = """
import sys
from pathlib import Path
from sslbench.engine.claim import claim
from sslbench.store import lease
from sslbench.store.store import Store
lease.BEAT = 0.05
with claim(Store(sys.argv[1]) if "://" in sys.argv[1] else Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(lease, "DEAD", 0.5)


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_the_second_one_is_refused_until_the_first_is_gone(tmp_path: Path, kind: str, quick: None) -> None:
    # A holder that lives is looked at for as long as it takes it to count once, however busy the machine.
    what = str(tmp_path / "run") if kind == "folder" else f"file://{tmp_path}/store/run"
    held = Path(what) if kind == "folder" else Store(what)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "ready\n"
    if kind == "store":
        lease.DEAD = 60.0
    with (
        pytest.raises(EngineError, match=rf"the run .*run is held by process {holder.pid} on .*, since 20"),
        claim(held),
    ):
        raise AssertionError("claimed")
    lease.DEAD = 0.5
    holder.send_signal(signal.SIGKILL)
    holder.wait(60)
    with claim(held):
        pass


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_it_can_be_claimed_again_at_once_when_it_was_let_go(tmp_path: Path, kind: str, quick: None) -> None:
    held = tmp_path / "run" if kind == "folder" else Store(f"file://{tmp_path}/store")
    for _ in range(3):
        with claim(held):
            pass
    with pytest.raises(KeyError), claim(held):
        raise KeyError
    with claim(held):
        pass


def beating(before: set[threading.Thread]) -> threading.Thread:
    """The thread that counts a lease up; before: those that were there without it."""
    (thread,) = (each for each in threading.enumerate() if each not in before and each.name == "sslbench-lease")
    return thread


def test_a_controller_whose_run_was_taken_over_is_told_and_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.01)
    store, before = Store(f"file://{tmp_path}/store"), set(threading.enumerate())
    with claim(store) as check:
        check()
        thread = beating(before)
        other = lease.Holder("elsewhere", 7, "2026-01-01", "token")
        store.write("leases/controller/00000002", other.to_bytes())
        thread.join(60)
        with pytest.raises(EngineError, match=r"was taken over by process 7 on elsewhere.*the same command goes on"):
            check()
    assert store.read("leases/controller/00000002") == other.to_bytes()


def test_a_controller_whose_lease_was_deleted_is_told_that_it_may_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.01)
    store, before = Store(f"file://{tmp_path}/store"), set(threading.enumerate())
    with claim(store) as check:
        thread = beating(before)
        # A beat that is on its way may write it again.
        while thread.is_alive():
            store.delete("leases/controller/00000001")
            thread.join(0.01)
        with pytest.raises(
            EngineError, match=r"taken over by another process, .* or its lease, leases/controller/, was deleted"
        ):
            check()


def test_a_run_is_claimed_where_its_records_are_shared(tmp_path: Path) -> None:
    with claim(Run(tmp_path / "a")):
        assert (tmp_path / "a/.lease.json").exists()
    run = run_at(tmp_path / "b", f"file://{tmp_path}/store")
    with claim(run):
        assert not (tmp_path / "b").exists()
        assert Store(f"file://{tmp_path}/store/b").names("leases/controller/")


def test_a_folder_that_cannot_be_had_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="cannot be locked"), claim(tmp_path / "file" / "run"):
        pass


def test_what_is_said_of_a_holder_holds_nothing(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError("no space left on device")

    monkeypatch.setattr("sslbench.engine.claim.write_atomic", full)
    for _ in range(2):
        with claim(tmp_path):
            pass
