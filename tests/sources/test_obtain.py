"""Lists of sources: fetched, unpacked, and reported together."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile

import pytest

from sslbench.sources import Source
from sslbench.sources.obtain import is_obtained, obtain


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


PICTURES = zipped({"pictures/1.jpg": b"1"})


def test_one_failure_does_not_keep_the_others_back(server, tmp_path):
    sources = (
        Source("gone.zip", (f"{server.root}/gone",), unpack="."),
        Source("pictures.zip", (server.add("/pictures", PICTURES),), md5=md5(PICTURES), unpack="."),
        Source("hand.txt", manual="Ask for it."),
        Source("broken.zip", (server.add("/broken", PICTURES[:-9]),), unpack="."),
        Source("labels.txt", (server.add("/labels", b"labels"),)),
    )
    outcomes = obtain(sources, tmp_path)
    assert [outcome.source for outcome in outcomes] == list(sources)
    assert [bool(outcome.error) for outcome in outcomes] == [True, False, True, True, False]
    assert "HTTP 404" in outcomes[0].error
    assert "By hand: Ask for it." in outcomes[2].error
    assert "broken.zip is damaged" in outcomes[3].error
    assert (tmp_path / "pictures/1.jpg").read_bytes() == b"1"
    assert outcomes[4].path == tmp_path / "labels.txt"
    assert [is_obtained(source, tmp_path) for source in sources] == [False, True, False, False, True]


def test_a_second_call_asks_for_nothing_even_when_the_archive_was_removed(server, tmp_path, no_sockets_after):
    sources = (Source("pictures.zip", (server.add("/pictures", PICTURES),), md5=md5(PICTURES), unpack="sub"),)
    assert obtain(sources, tmp_path)[0].path == tmp_path / "sub"
    no_sockets_after()
    assert [outcome.error for outcome in obtain(sources, tmp_path)] == [""]
    (tmp_path / "pictures.zip").unlink()
    assert [outcome.error for outcome in obtain(sources, tmp_path)] == [""]
    assert is_obtained(sources[0], tmp_path)
    # Another version of the file is declared: what was unpacked is not it.
    newer = Source("pictures.zip", sources[0].urls, md5="0" * 32, unpack="sub")
    assert not is_obtained(newer, tmp_path)
    assert "offline" in obtain((newer,), tmp_path, offline=True)[0].error


@pytest.fixture
def no_sockets_after(request: pytest.FixtureRequest):
    return lambda: request.getfixturevalue("no_sockets")


def test_an_archive_inside_an_archive(server, tmp_path):
    """The form of Caltech-101: a zip made on macOS that holds a tar.gz of the pictures."""
    inner = tarred({"101_ObjectCategories/ant/image_0001.jpg": b"ant"})
    outer = zipped(
        {
            "caltech-101/101_ObjectCategories.tar.gz": inner,
            "__MACOSX/caltech-101/._101_ObjectCategories.tar.gz": b"\0\5\x16\7\0\2",
        }
    )
    url = server.add("/caltech", outer)
    sources = (
        Source("caltech-101.zip", (url,), md5=md5(outer), unpack="."),
        Source("caltech-101/101_ObjectCategories.tar.gz", unpack="."),
    )
    offline = obtain(sources, tmp_path, offline=True)
    assert "offline" in offline[0].error
    assert "it comes out of an archive that is fetched before it" in offline[1].error
    assert [outcome.error for outcome in obtain(sources, tmp_path)] == ["", ""]
    assert (tmp_path / "101_ObjectCategories/ant/image_0001.jpg").read_bytes() == b"ant"
    assert not (tmp_path / "__MACOSX").exists()
    assert [outcome.error for outcome in obtain(sources, tmp_path, offline=True)] == ["", ""]
    assert len(server.seen) == 1


def test_unpacking_again_brings_back_what_was_lost(server, tmp_path):
    source = Source("pictures.zip", (server.add("/pictures", PICTURES),), md5=md5(PICTURES), unpack=".")
    obtain((source,), tmp_path)
    (tmp_path / "pictures/1.jpg").unlink()
    # The marker only names what stands at the top.
    obtain((source,), tmp_path)
    assert not (tmp_path / "pictures/1.jpg").exists()
    assert obtain((source,), tmp_path, again=True)[0].error == ""
    assert (tmp_path / "pictures/1.jpg").exists()
    assert len(server.seen) == 1


def test_a_damaged_archive_of_unknown_digest_is_told_and_can_be_replaced(server, tmp_path):
    """Nothing tells that the download was bad until it is unpacked; the pin must not keep it for ever."""
    source = Source("pictures.zip", (server.add("/pictures", PICTURES[:-9]),), unpack=".")
    error = obtain((source,), tmp_path)[0].error
    assert "is damaged" in error
    assert "remove it and fetch it again" in error
    (tmp_path / "pictures.zip").unlink()
    server.add("/pictures", PICTURES)
    assert obtain((source,), tmp_path)[0].error == ""
