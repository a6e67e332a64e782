"""Unpacking: whole or not at all, nothing elsewhere, and no bombs."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sslbench.errors import ArchiveError
from sslbench.sources import limits, members
from sslbench.sources import unpack as module
from sslbench.sources.unpack import unpack

Files = dict[str, bytes]

RNG = random.Random(1)
FILES: Files = {"set/a/1.jpg": RNG.randbytes(3000), "set/b/2 3.jpg": RNG.randbytes(30_000), "set/list.txt": b"1\r\n"}


def make_zip(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, files: Files, mode: str = "w", extra: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path


MAKERS: dict[str, Callable[[Path, Files], Path]] = {
    "data.zip": make_zip,
    "data.tar": make_tar,
    "data.tar.gz": lambda path, files: make_tar(path, files, "w:gz"),
    "data.tgz": lambda path, files: make_tar(path, files, "w:gz"),
    "data.tar.bz2": lambda path, files: make_tar(path, files, "w:bz2"),
    "data.tar.xz": lambda path, files: make_tar(path, files, "w:xz"),
}
each_format = pytest.mark.parametrize("name", MAKERS)
zip_and_tar = pytest.mark.parametrize("name", ["data.zip", "data.tar.gz"])


def found(directory: Path) -> Files:
    """Every file below the directory, markers and locks aside."""
    paths = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def refused(archive: Path, directory: Path, match: str, **options: object) -> str:
    """The message; nothing may be left of the archive, inside the directory or beside it."""
    before = {path for path in directory.parent.rglob("*") if not path.name.endswith(".lock")}
    with pytest.raises(ArchiveError, match=match) as info:
        unpack(archive, directory, **options)
    assert {path for path in directory.parent.rglob("*") if not path.name.endswith(".lock")} == before
    return str(info.value)


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


UNSAFE = ["../evil", "set/../../evil", "/evil", "//evil", "..\\evil", "set\\..\\..\\evil", "C:\\evil", "c:evil", ".."]


@zip_and_tar
@pytest.mark.parametrize("evil", UNSAFE)
@pytest.mark.parametrize("exists", [False, True])
def test_names_that_lead_out_are_refused(tmp_path, name, evil, exists):
    archive = MAKERS[name](tmp_path / name, {"set/good.jpg": b"good", evil: b"evil"})
    if exists:
        (tmp_path / "out").mkdir()
    refused(archive, tmp_path / "out", "unsafe name")
    assert not Path("/evil").exists()


def test_harmless_dots_are_dropped(tmp_path):
    archive = make_tar(tmp_path / "data.tar", {"./set/./1.jpg": b"1", "..set/2..jpg": b"2"})
    unpack(archive, tmp_path / "out")
    assert found(tmp_path / "out") == {"set/1.jpg": b"1", "..set/2..jpg": b"2"}


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize(
    "links",
    [
        [link("set/away", "/etc")],
        [link("set/away", "../../secret")],
        [link("set/away", "../../secret", tarfile.LNKTYPE), link("set/x", "/etc/passwd", tarfile.LNKTYPE)],
        # Each alone is harmless; the second leads out through the first.
        [link("x/y/s", "../.."), link("x/y/t", "s/../..")],
        # The first leads out once the second is there.
        [link("a", "b/../.."), link("b", "x")],
        [link("a", "b/.."), link("b", ".")],
        # A link made through a link.
        [link("d", "set"), link("d/x", "good.jpg")],
    ],
    ids=lambda links: ",".join(f"{info.name}={info.linkname}" for info in links),
)
def test_links_that_lead_out_are_refused(tmp_path, links):
    tmp_path.joinpath("secret").write_text("secret")
    archive = make_tar(tmp_path / "data.tar", {"set/good.jpg": b"good", "x/y/z": b""}, extra=tuple(links))
    refused(archive, tmp_path / "out", "unsafe")


def test_nothing_is_written_through_a_link(tmp_path):
    """A link that leads out, and then a file below it: the classical attack."""
    outside = tmp_path / "outside"
    outside.mkdir()
    path = tmp_path / "data.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(link("door", str(outside)))
        info = tarfile.TarInfo("door/evil")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    refused(path, tmp_path / "out", "unsafe")
    assert list(outside.iterdir()) == []


def test_links_inside_are_kept(tmp_path):
    links = (link("set/same", "good.jpg"), link("set/hard", "set/good.jpg", tarfile.LNKTYPE), link("again", "set"))
    archive = make_tar(tmp_path / "data.tar", {"set/good.jpg": b"good"}, extra=links)
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out/set/same").is_symlink()
    assert {path: (tmp_path / "out" / path).read_bytes() for path in ("set/same", "set/hard", "again/same")} == {
        "set/same": b"good",
        "set/hard": b"good",
        "again/same": b"good",
    }
    unpack(archive, tmp_path / "out", again=True)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(tmp_path, kind):
    archive = make_tar(tmp_path / "data.tar", FILES, extra=(link("set/device", "", kind),))
    refused(archive, tmp_path / "out", "is unsafe: .*special file")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, kind):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("set/away")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    refused(path, tmp_path / "out", "is a link or a device")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = make_zip(tmp_path / "data.zip", {"a.jpg": b"secret"})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # general purpose flags of the local header and of the directory entry
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    refused(path, tmp_path / "out", "is encrypted; unpack the archive by hand")


def test_an_unknown_compression_is_told(tmp_path):
    path = make_zip(tmp_path / "data.zip", {"a.jpg": b"data"})
    content = bytearray(path.read_bytes())
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 97
    path.write_bytes(content)
    refused(path, tmp_path / "out", "cannot be read: .*unpack it by hand")


@zip_and_tar
def test_limits(tmp_path, name, monkeypatch):
    archive = MAKERS[name](tmp_path / name, {f"{number}.txt": b"0" * 10_000 for number in range(9)})
    refused(archive, tmp_path / "out", "holds more than 8 files; this is the limit", max_files=8)
    refused(archive, tmp_path / "out", "holds more than 80000 bytes; this is the limit", max_bytes=80_000)
    unpack(archive, tmp_path / "harmless", max_ratio=2)
    monkeypatch.setattr(limits, "HARMLESS", 1000)
    refused(archive, tmp_path / "out", "unpacks to more than 2 times its size", max_ratio=2)
    unpack(archive, tmp_path / "out", max_files=9, max_bytes=200_000, max_ratio=1000)


def test_a_bomb_is_stopped_before_it_fills_the_disk(tmp_path):
    """The default limits stop it at 64 MiB, and what was written is removed."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as member:
        block = bytes(1 << 20)
        for _ in range(80):
            member.write(block)
    refused(path, tmp_path / "out", "more than 100 times its size")


def test_a_bomb_behind_the_last_member(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "HARMLESS", 1000)
    plain = make_tar(tmp_path / "plain.tar", {"a.jpg": b"a"}).read_bytes()
    path = tmp_path / "data.tar.gz"
    path.write_bytes(gzip.compress(plain + bytes(5 << 20)))
    refused(path, tmp_path / "out", "more than 100 times its size")


def test_the_limits_admit_the_largest_archives_of_the_field():
    for size, files in ((37 * 10**9, 108_754), (45 * 10**9, 112_120), (150 * 10**9, 1_281_167)):
        budget = limits.Budget(Path("x"), size, limits.MAX_BYTES, limits.MAX_FILES, limits.MAX_RATIO)
        budget.add_bytes(round(1.02 * size))
        budget.files = files - 1
        budget.add_file()


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
