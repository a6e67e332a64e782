"""Objects by URL: whole or not there, asked for again, and never waited for without end."""

from __future__ import annotations

import errno
import logging
import pickle
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sslbench.errors import StoreError
from sslbench.store.store import Store
from sslbench.store.url import is_url
from tests.store.conftest import join_tries
from tests.store.faulty import FaultyFileSystem


def test_what_was_put_comes_back_under_its_name_alone(store: Store, tmp_path: Path) -> None:
    path, into = tmp_path / "local", tmp_path / "new/folder/copy"
    path.write_bytes(random.Random(1).randbytes(100_001))
    store.put(path, "a/b/one")
    store.write("a/c", b"two")
    assert store.size("a/b/one") == 100_001 and store.read("a/c") == b"two"
    assert store.get("a/b/one", into) and into.read_bytes() == path.read_bytes()
    assert [each.name for each in into.parent.iterdir()] == ["copy"]
    assert store.names().keys() == {"a/b/one", "a/c"}
    assert store.names("a/b").keys() == store.names("a/b/").keys() == {"a/b/one"}
    assert store.below("a").read("c") == b"two"
    store.delete("a/c")
    store.delete("a/c")
    assert store.names().keys() == {"a/b/one"}


def test_what_is_not_there_is_no_error(store: Store, tmp_path: Path) -> None:
    into = tmp_path / "copy"
    assert store.size("nothing") is None and store.read("nothing") is None
    assert not store.get("nothing", into) and not into.exists()
    assert store.names() == {} and store.names("no/such/folder") == {}


def test_an_object_is_replaced_and_its_version_shows_it(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "local"
    versions = set()
    for number in range(5):
        path.write_bytes(bytes([number]) * 10)
        store.put(path, "one")
        versions |= set(store.names().items())
        assert store.read("one") == bytes([number]) * 10
    assert len(versions) == 5
    assert store.names() == store.names()


def test_of_many_who_create_an_object_one_has_it(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}")
    ready = threading.Barrier(8)

    def create(number: int) -> bool:
        ready.wait(10)
        return store.create("one", str(number).encode())

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert sum(won) == 1
    assert store.read("one") == str(won.index(True)).encode()
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_create_leaves_what_is_there(store: Store) -> None:
    assert store.create("one", b"mine") and not store.create("one", b"yours")
    assert store.read("one") == b"mine"
    store.delete("one")
    assert store.create("one", b"yours")


@pytest.mark.parametrize("seed", range(12))
def test_errors_that_pass_change_nothing(faulty: Store, tmp_path: Path, seed: int) -> None:
    """Against a dict, over calls of which half fail before, after, or answer too late."""
    chance, known = random.Random(seed), dict[str, bytes]()
    # Late at a few seeds only: each waits for the limit.
    late = 0.6 if seed < 2 else 0.0
    store = Store(faulty.url, patience=0.3 if late else 30.0)
    FaultyFileSystem.behave(seed, rate=0.5, late=late)
    path, into = tmp_path / "path", tmp_path / "into"
    for _ in range(10 if late else 60):
        name, data = chance.choice("abcd"), chance.randbytes(chance.randrange(1, 50))
        if late:
            # As content has it by whose digest it is named: a try that was given up may write it once more.
            data = name.encode() * 20
        kind = chance.choice(["put", "get", "create", "delete", "names", "size"])
        if late and kind == "create":
            name, data = name * 2, chance.randbytes(20)
        if kind == "put":
            path.write_bytes(data)
            store.put(path, name)
            known[name] = data
        elif kind == "get":
            into.unlink(missing_ok=True)
            assert store.get(name, into) == (name in known)
            assert not into.exists() or into.read_bytes() == known[name]
        elif kind == "create":
            assert store.create(name, data) == (name not in known)
            known.setdefault(name, data)
        elif kind == "delete" and not late:
            # Not where answers come late: what is given up may delete what comes next.
            store.delete(name)
            known.pop(name, None)
        elif kind == "names":
            assert store.names().keys() == known.keys()
        else:
            assert store.size(name) == (len(known[name]) if name in known else None)
    assert FaultyFileSystem.faults


def test_after_four_tries_it_is_an_error_that_says_what_happened(faulty: Store) -> None:
    FaultyFileSystem.behave(rate=1.0, most=100)
    with pytest.raises(StoreError, match=r"faulty://bucket/prefix: could not look for one: ConnectionError: the "):
        faulty.size("one")
    assert FaultyFileSystem.calls == 4


@pytest.mark.parametrize("error", [PermissionError, ValueError])
def test_an_error_that_stays_is_not_tried_again(faulty: Store, error: type[Exception]) -> None:
    FaultyFileSystem.behave(rate=1.0, most=100, error=error)
    with pytest.raises(StoreError, match=error.__name__):
        faulty.size("one")
    assert FaultyFileSystem.calls == 1


def test_no_answer_is_waited_for_without_end_and_what_comes_late_leaves_nothing(
    faulty: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.write("one", b"data")
    answer, ended = threading.Event(), threading.Semaphore(0)
    get_file = FaultyFileSystem.get_file

    def hangs(self: FaultyFileSystem, rpath: str, lpath: str, **options: object) -> None:
        answer.wait(60)
        get_file(self, rpath, lpath)
        ended.release()

    monkeypatch.setattr(FaultyFileSystem, "get_file", hangs)
    with pytest.raises(StoreError, match="could not read one: no answer within 0 s"):
        Store(faulty.url, patience=0.02).get("one", tmp_path / "folder/into")
    answer.set()
    for _ in range(4):
        assert ended.acquire(timeout=60)
    join_tries()
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_transfer_that_is_cut_is_made_again(faulty: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty.write("one", b"0123456789")
    cuts = iter([3, 0, 10])
    monkeypatch.setattr(
        FaultyFileSystem,
        "get_file",
        lambda self, rpath, lpath, **options: Path(lpath).write_bytes(b"0123456789"[: next(cuts)]),
    )
    assert faulty.get("one", tmp_path / "into") and (tmp_path / "into").read_bytes() == b"0123456789"


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from sslbench.store.store import Store

def half(source, target):
    Path(target).write_bytes(Path(source).read_bytes()[:500])
    os.kill(os.getpid(), signal.SIGKILL)

shutil.copyfile = half
Store("file://" + sys.argv[1]).put(Path(sys.argv[2]), "one")
"""


@pytest.mark.parametrize("before", [None, b"the old one"])
def test_a_writer_that_is_killed_leaves_nothing_half(tmp_path: Path, before: bytes | None) -> None:
    store, path = Store(f"file://{tmp_path}/store"), tmp_path / "local"
    path.write_bytes(b"x" * 1000)
    if before is not None:
        store.write("one", before)
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "store", path], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "store").glob("*.tmp"))) == 1
    assert store.read("one") == before
    assert store.names().keys() == ({"one"} if before else set())
    store.put(path, "one")
    assert store.read("one") == path.read_bytes()


def test_a_check_writes_reads_and_leaves_nothing(store: Store) -> None:
    store.check()
    assert store.names() == {}


def test_a_check_says_what_is_wrong_and_what_to_do(tmp_path: Path, faulty: Store) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"could not write .*(NotADirectory|FileExists)Error.* look at the URL"):
        Store(f"file://{tmp_path}/file/folder").check()
    FaultyFileSystem.behave(rate=1.0, most=100, error=PermissionError)
    with pytest.raises(StoreError, match=r"PermissionError.* credentials"):
        faulty.check()


def test_a_first_question_is_not_asked_for_long_and_later_ones_are(
    faulty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslbench.store.store._BRIEF", 0.0)
    for first in (faulty.check, faulty.first_names):
        FaultyFileSystem.behave(rate=1.0, most=10**6)
        with pytest.raises(
            StoreError, match=r"Expected a store that can be .*read: look at the URL, whether its bucket"
        ):
            first()
        assert FaultyFileSystem.calls == 1
    FaultyFileSystem.behave(rate=1.0, most=10**6)
    with pytest.raises(StoreError):
        faulty.names()
    assert FaultyFileSystem.calls == 4


@pytest.mark.parametrize("level", [logging.NOTSET, logging.INFO])
def test_what_a_driver_logs_of_a_first_question_is_in_our_error_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    driver = logging.getLogger("gcsfs")
    caplog.set_level(level, "gcsfs")

    def refused(url: str, *, brief: bool = False) -> None:
        driver.warning("brief" if brief else "later")
        raise PermissionError("no credentials")

    monkeypatch.setattr("sslbench.store.store.open_driver", refused)
    store = Store("gs://bucket/prefix")
    for ask in (store.check, store.first_names, store.names):
        with pytest.raises(StoreError, match="no credentials"):
            ask()
        assert driver.level == level
    # Whoever has set a level wants to see it.
    assert caplog.messages == ["brief"] * (2 if level else 0) + ["later"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://bucket/prefix", r"driver for s3:// is not installed; install it with: pip install 'sslbench\[s3\]'"),
        ("gs://bucket", r"driver for gs:// is not installed; install it with: pip install 'sslbench\[gcs\]'"),
        ("nosuch://bucket", "expected s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER"),
        ("file://relative/folder", "from the root on"),
    ],
)
def test_a_url_that_cannot_be_opened_is_one_clear_error(url: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StoreError, match=told):
        Store(url).check()


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(StoreError, match=r"pip install 'sslbench\[gcs\]'"):
        Store("gs://bucket").names()


def test_a_name_that_leads_out_of_a_directory_is_none() -> None:
    store = Store("memory://bucket/upward")
    for name in ("a/b", "a/../b", "../b", "a/./b", "a/..", "a/..b"):
        store.write(name, b"1")
    assert store.names().keys() == store.first_names().keys() == {"a/b", "a/..b"}


def test_a_folder_needs_no_fsspec_and_no_url_imports_it() -> None:
    code = """
import sys, tempfile
from sslbench.store.store import Store
import sslbench.store.shared
Store("file://" + tempfile.mkdtemp()).check()
assert "fsspec" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("text", ["", "folder", "/folder", "C:/folder", "s3:/bucket", "~/x"])
def test_a_path_is_no_url(text: str) -> None:
    assert not is_url(text)
    with pytest.raises(StoreError, match="expected a URL"):
        Store(text)


def test_a_store_can_be_pickled(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/")
    store.write("one", b"data")
    assert pickle.loads(pickle.dumps(store)).read("one") == b"data"


def test_an_object_that_is_written_again_while_it_is_fetched_comes_whole(store, tmp_path, monkeypatch) -> None:
    store.write("a", b"longer than before")
    monkeypatch.setattr(Store, "size", lambda self, name: 3)
    assert store.get("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"longer than before"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_folder_without_second_names_has_one_creator_all_the_same(tmp_path, monkeypatch, number) -> None:
    def link(*paths: object) -> None:
        raise OSError(number, "no second names")

    monkeypatch.setattr("os.link", link)
    store = Store(f"file://{tmp_path}/store")
    assert store.create("a", b"1") and not store.create("a", b"2")
    assert store.read("a") == b"1"
