"""Unpacking: whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sslbench.errors import ArchiveError
from sslbench.sources import members
from sslbench.sources import unpack as module
from sslbench.sources.unpack import unpack

from .archives import FILES, MAKERS, each_format, found, make_tar, make_zip, refused, zip_and_tar


@each_format
def test_every_format_is_unpacked(tmp_path, name):
    archive = MAKERS[name](tmp_path / name, FILES)
    assert unpack(archive, tmp_path / "out" / "deep") == tmp_path / "out" / "deep"
    assert found(tmp_path / "out/deep") == FILES
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"deep"}
    marker = json.loads((tmp_path / f"out/deep/.{name}.complete").read_text())
    assert marker["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert marker["md5"] == hashlib.md5(archive.read_bytes()).hexdigest()
    assert (marker["archive"], marker["files"], marker["entries"]) == (name, 3, ["set"])
    assert marker["bytes"] >= sum(map(len, FILES.values()))


@each_format
def test_the_format_is_told_by_the_content(tmp_path, name):
    archive = MAKERS[name](tmp_path / "download", FILES)
    unpack(archive, tmp_path / "out")
    assert found(tmp_path / "out") == FILES


@zip_and_tar
def test_a_second_call_reads_nothing(tmp_path, name, monkeypatch):
    archive = MAKERS[name](tmp_path / name, FILES)
    unpack(archive, tmp_path / "out")

    def forbidden(*_arguments: object) -> None:
        raise AssertionError("the archive was read again")

    monkeypatch.setattr(module, "_extract", forbidden)
    with monkeypatch.context() as patch:
        patch.setattr(module, "digests", forbidden)
        unpack(archive, tmp_path / "out")
    # A copy with another time is known by its digest.
    archive.touch()
    unpack(archive, tmp_path / "out")
    with pytest.raises(AssertionError):
        unpack(archive, tmp_path / "out", again=True)
    MAKERS[name](archive, {"set/list.txt": b"another"})
    with pytest.raises(AssertionError):
        unpack(archive, tmp_path / "out")


def test_what_was_removed_is_unpacked_again(tmp_path):
    archive = make_zip(tmp_path / "data.zip", FILES)
    unpack(archive, tmp_path / "out")
    shutil.rmtree(tmp_path / "out/set")
    unpack(archive, tmp_path / "out")
    assert found(tmp_path / "out") == FILES
    (tmp_path / "out/set/a/1.jpg").unlink()
    unpack(archive, tmp_path / "out", again=True)
    assert found(tmp_path / "out") == FILES


@pytest.mark.parametrize("text", ["", "{", "[]", '{"entries": ["set"]}', '{"entries": 3}'])
def test_a_damaged_marker_counts_for_nothing(tmp_path, text):
    archive = make_zip(tmp_path / "data.zip", FILES)
    unpack(archive, tmp_path / "out")
    (tmp_path / "out/.data.zip.complete").write_text(text)
    (tmp_path / "out/set/list.txt").unlink()
    unpack(archive, tmp_path / "out")
    assert found(tmp_path / "out") == FILES


def test_archives_that_share_a_directory_are_merged(tmp_path):
    one = make_zip(tmp_path / "one.zip", {"set/a/1.jpg": b"1", "set/list.txt": b"both"})
    two = make_tar(tmp_path / "two.tar", {"set/a/2.jpg": b"2", "set/b/3.jpg": b"3", "set/list.txt": b"both"})
    for archive in (one, two, one, two):
        unpack(archive, tmp_path)
    assert {name: data for name, data in found(tmp_path).items() if name.startswith("set")} == {
        "set/a/1.jpg": b"1",
        "set/a/2.jpg": b"2",
        "set/b/3.jpg": b"3",
        "set/list.txt": b"both",
    }


@zip_and_tar
def test_a_file_that_differs_from_one_that_is_there_is_refused(tmp_path, name):
    archive = MAKERS[name](tmp_path / name, {"aa/new.jpg": b"new", "set/list.txt": b"of the archive"})
    (tmp_path / "out/set").mkdir(parents=True)
    (tmp_path / "out/set/list.txt").write_bytes(b"of a person")
    message = refused(archive, tmp_path / "out", "list.txt is there already and differs")
    assert "remove it, or unpack elsewhere" in message
    assert found(tmp_path / "out") == {"set/list.txt": b"of a person"}


@each_format
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.98])
def test_a_truncated_archive_is_refused(tmp_path, name, kept):
    archive = MAKERS[name](tmp_path / name, FILES)
    data = archive.read_bytes()
    # The end of a plain tar is padding, without which it is whole all the same.
    size = len(data) - 10_240 if name == "data.tar" and kept == 0.98 else len(data)
    archive.write_bytes(data[: int(kept * size) if kept < 1 else kept])
    message = refused(archive, tmp_path / "out", "is damaged, or neither a zip nor a tar")
    assert "remove it and fetch it again" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "data.tar"])
def test_an_altered_byte_never_passes(tmp_path, name):
    """Each of these formats has checksums; where they are compared, every byte of the content counts."""
    pristine = MAKERS[name](tmp_path / name, FILES).read_bytes()
    rng = random.Random(name)
    for number in range(30):
        content = bytearray(pristine)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        archive = tmp_path / f"{number}.archive"
        archive.write_bytes(content)
        directory = tmp_path / f"out{number}"
        try:
            unpack(archive, directory)
        except ArchiveError:
            assert not directory.exists()
        else:
            # What does not matter: times, modes, comments, and names in the one copy that nobody reads.
            assert sorted(found(directory).values()) == sorted(FILES.values())


def test_garbage_never_crashes(tmp_path):
    pristine = make_tar(tmp_path / "data.tar", FILES).read_bytes()
    rng = random.Random(0)
    for number in range(80):
        content = bytearray(pristine)
        for _ in range(rng.randrange(1, 8)):
            content[rng.randrange(512)] = rng.randrange(256)
        # A valid checksum lets the nonsense through to what reads the fields.
        content[148:156] = b" " * 8
        content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
        archive = tmp_path / "garbage"
        archive.write_bytes(content)
        try:
            unpack(archive, tmp_path / f"out{number}")
        except ArchiveError:
            assert not (tmp_path / f"out{number}").exists()


def test_a_page_and_a_foreign_format_are_told(tmp_path):
    archive = tmp_path / "data.zip"
    archive.write_bytes(b"<!doctype html><title>Request access</title>")
    refused(archive, tmp_path / "out", r"is an HTML page \('Request access'\)")
    archive.write_bytes(b"Rar!\x1a\x07\x01\x00" + bytes(9000))
    refused(archive, tmp_path / "out", "neither a zip nor a tar")
    with pytest.raises(ArchiveError, match="No such file"):
        unpack(tmp_path / "none.zip", tmp_path / "out")


@zip_and_tar
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("moment", ["extracting", "digesting", "moving"])
def test_an_interrupt_leaves_nothing_that_is_trusted(tmp_path, name, monkeypatch, exists, moment):
    archive = MAKERS[name](tmp_path / name, {**FILES, "more/4.jpg": b"4"})
    out = tmp_path / "out"
    if exists:
        out.mkdir()
    place = {"extracting": (members, "write"), "digesting": (module, "digests"), "moving": (Path, "replace")}[moment]
    original = getattr(*place)
    calls = 0

    def interrupted(*arguments: object):
        nonlocal calls
        calls += 1
        if calls == (1 if moment == "digesting" else 2):
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(*place, interrupted)
        if moment == "extracting":
            for user in ("zips", "tars"):
                patch.setattr(f"sslbench.sources.{user}.write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, out)
    assert calls
    assert not (out / f".{name}.complete").exists()
    assert list(tmp_path.rglob("*.unpacking")) == []
    if moment != "moving" or not exists:
        assert found(out) == {}
    unpack(archive, out)
    assert found(out) == {**FILES, "more/4.jpg": b"4"}


def test_two_processes_may_unpack_the_same(tmp_path):
    archive = make_zip(tmp_path / "data.zip", FILES)
    code = "import sys; from pathlib import Path; from sslbench.sources.unpack import unpack; unpack(*map(Path, sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(archive), str(tmp_path / "out")]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert found(tmp_path / "out") == FILES


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    archive = make_zip(tmp_path / "data.zip", FILES)
    for left in (tmp_path / ".data.zip.unpacking", tmp_path / "two/.data.zip.unpacking"):
        (left / "set").mkdir(parents=True)
        (left / "set/half.jpg").write_bytes(b"half")
    for name in ("one", "two"):
        unpack(archive, tmp_path / name)
        assert found(tmp_path / name) == FILES
        assert not (tmp_path / f".{name}.unpacking").exists()
    assert not (tmp_path / ".data.zip.unpacking").exists()
    assert not (tmp_path / "two/.data.zip.unpacking").exists()


@zip_and_tar
def test_a_full_disk_is_told_and_cleared(tmp_path, name, monkeypatch):
    archive = MAKERS[name](tmp_path / name, FILES)
    opened = Path.open

    def full(path: Path, mode: str = "r", **options):
        if mode == "wb" and path.name == "2 3.jpg":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return opened(path, mode, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        refused(archive, tmp_path / "out", "could not be unpacked into .*No space left on device")
    unpack(archive, tmp_path / "out")


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", FILES).read_bytes()
    archive = make_tar(tmp_path / "data.tar", {"a.jpg": b"a", "inner.zip": inner})
    assert zipfile.is_zipfile(archive)
    unpack(archive, tmp_path / "out")
    assert found(tmp_path / "out") == {"a.jpg": b"a", "inner.zip": inner}


def test_resource_forks_of_macos_are_left_out(tmp_path):
    inner = make_tar(tmp_path / "inner.tar.gz", {"pictures/1.jpg": b"1"}, "w:gz").read_bytes()
    files = {"set/inner.tar.gz": inner, "__MACOSX/set/._inner.tar.gz": b"\0\5\x16\7"}
    archive = make_zip(tmp_path / "data.zip", files)
    unpack(archive, tmp_path / "out")
    assert found(tmp_path / "out") == {"set/inner.tar.gz": inner}
