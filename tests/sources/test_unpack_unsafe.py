"""What an archive may not do: leave its directory, link out of it, fill the disk."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from sslbench.sources import limits
from sslbench.sources.unpack import unpack

from .archives import FILES, MAKERS, found, make_tar, make_zip, refused, zip_and_tar

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
