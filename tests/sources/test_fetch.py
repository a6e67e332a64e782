"""Fetching against a server that breaks off, lies and refuses."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sslbench.errors import FetchError
from sslbench.sources import Source, download
from sslbench.sources.fetch import fetch
from sslbench.sources.part import Part

from .fetched import DATA, MD5, PAGE, SHA256, only_the_file


@pytest.mark.parametrize(
    "digests", [{"sha256": SHA256}, {"md5": MD5}, {"sha256": SHA256[:8]}, {"md5": MD5[:8].upper()}]
)
def test_a_file_is_fetched_once_and_not_again(server, tmp_path, digests):
    source = Source("net.pth", (server.add("/net.pth", DATA),), **digests, size=len(DATA))
    path = fetch(source, tmp_path / "new" / "files")
    assert path == tmp_path / "new" / "files" / "net.pth"
    assert path.read_bytes() == DATA
    only_the_file(path.parent)
    assert not (path.parent / "net.pth.sha256").exists()
    assert fetch(source, path.parent) == path
    assert len(server.seen) == 1


def test_a_wrong_checksum_is_followed_by_a_good_mirror(server, tmp_path):
    urls = (server.add("/bad", DATA[:-1] + b"x"), server.add("/good", DATA), server.add("/unused", DATA))
    said: list[str] = []
    path = fetch(Source("net.pth", urls, sha256=SHA256), tmp_path, say=said.append)
    assert path.read_bytes() == DATA
    only_the_file(tmp_path)
    # The second mirror starts afresh: the bytes of the first are of no use.
    assert server.seen == [("/bad", ""), ("/good", "")]
    assert any(f"expected sha256 {SHA256}, got " in line for line in said)


def test_a_wrong_file_from_everywhere_leaves_nothing(server, tmp_path):
    urls = (server.add("/a", b"a" * 99), server.add("/b", b"b" * 99))
    with pytest.raises(FetchError) as info:
        fetch(Source("net.pth", urls, md5=MD5, manual="Ask the authors."), tmp_path)
    lines = str(info.value).splitlines()
    assert lines[0] == "net.pth could not be fetched:"
    actual = [hashlib.md5(letter * 99).hexdigest() for letter in (b"a", b"b")]
    assert lines[1:3] == [f"  {url}: expected md5 {MD5}, got {got}" for url, got in zip(urls, actual, strict=True)]
    assert lines[3] == "  By hand: Ask the authors."
    assert [path.name for path in tmp_path.iterdir()] == [".net.pth.lock"]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_followed_by_the_next_mirror_at_once(server, tmp_path, status):
    urls = (server.add("/gone", DATA, statuses=[status] * 9), server.add("/good", DATA))
    assert fetch(Source("net.pth", urls, md5=MD5), tmp_path).read_bytes() == DATA
    assert server.seen == [("/gone", ""), ("/good", "")]


def test_a_busy_server_is_asked_again_after_the_time_it_names(server, tmp_path, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    monkeypatch.setattr(download, "BACKOFF", 1.0)
    url = server.add("/busy", DATA, statuses=[503, 429, 500], headers={"Retry-After": "7"})
    assert fetch(Source("net.pth", (url,), md5=MD5), tmp_path).read_bytes() == DATA
    assert pauses == [7.0, 7.0, 7.0]
    url = server.add("/slow", DATA, statuses=[503, 503, 503])
    fetch(Source("other.pth", (url,), md5=MD5), tmp_path)
    assert pauses[3:] == [1.0, 2.0, 4.0]


def test_a_server_that_stays_busy_is_given_up(server, tmp_path):
    urls = (server.add("/busy", DATA, statuses=[503] * 99), server.add("/good", DATA))
    assert fetch(Source("net.pth", urls, md5=MD5), tmp_path).read_bytes() == DATA
    assert server.ranges("/busy") == [""] * download.TRIES


@pytest.mark.parametrize(
    "answer", [{"content_type": "text/html; charset=utf-8"}, {"content_type": "application/octet-stream"}]
)
def test_a_page_instead_of_the_file_is_refused_and_told_by_its_title(server, tmp_path, answer):
    urls = (server.add("/login", PAGE, **answer), server.add("/good", DATA))
    said: list[str] = []
    assert fetch(Source("net.pth", urls), tmp_path, say=said.append).read_bytes() == DATA
    with pytest.raises(FetchError, match=r"an HTML page \('Sign in – Accounts'\) instead of the file"):
        fetch(Source("other.pth", urls[:1]), tmp_path)
    assert not (tmp_path / "other.pth").exists()
    assert not (tmp_path / "other.pth.part").exists()


def test_a_page_does_not_take_away_what_was_fetched_before(server, tmp_path):
    url = server.add("/net", DATA, breaks=[700] + [0] * 9)
    source = Source("net.pth", (url,), md5=MD5)
    with pytest.raises(FetchError):
        fetch(source, tmp_path)
    server.add("/net", PAGE, ranges=False)
    with pytest.raises(FetchError, match="HTML page"):
        fetch(source, tmp_path)
    assert Part(tmp_path / "net.pth").path.read_bytes() == DATA[:700]


def test_a_page_that_a_person_saved_is_refused(tmp_path):
    tmp_path.joinpath("net.pth").write_bytes(b"\xef\xbb\xbf<!-- saved -->\n<html><title>Dropbox</title>")
    with pytest.raises(FetchError, match=r"an HTML page \('Dropbox'\)") as info:
        fetch(Source("net.pth", manual="Click on download."), tmp_path)
    assert "Remove it" in str(info.value)
    assert "By hand: Click on download." in str(info.value)


def test_a_truncated_file_is_not_accepted(server, tmp_path):
    urls = (server.add("/short", DATA[:5000], announce=6000), server.add("/good", DATA))
    assert fetch(Source("net.pth", urls), tmp_path).read_bytes() == DATA
    assert len(server.ranges("/short")) == download.TRIES


def test_a_length_other_than_the_declared_one_is_refused_before_it_is_fetched(server, tmp_path):
    url = server.add("/net", DATA[:-1])
    with pytest.raises(FetchError, match=f"it announces {len(DATA) - 1} bytes, expected {len(DATA)}"):
        fetch(Source("net.pth", (url,), size=len(DATA)), tmp_path)
    assert not (tmp_path / "net.pth.part").exists()


def test_a_file_of_unannounced_length(server, tmp_path):
    url = server.add("/net", DATA, announce=None)
    assert fetch(Source("net.pth", (url,), size=len(DATA)), tmp_path).read_bytes() == DATA
    url = server.add("/short", DATA[:-1], announce=None)
    with pytest.raises(FetchError, match=f"expected {len(DATA)} bytes, got {len(DATA) - 1}"):
        fetch(Source("other.pth", (url,), size=len(DATA)), tmp_path)
    url = server.add("/empty", b"")
    with pytest.raises(FetchError, match="it is empty"):
        fetch(Source("empty.pth", (url,)), tmp_path)


def test_a_digest_that_nobody_publishes_is_pinned_and_checked(server, tmp_path):
    source = Source("net.pth", (server.add("/net", DATA),))
    path = fetch(source, tmp_path)
    assert (tmp_path / "net.pth.sha256").read_text() == f"{SHA256}  net.pth\n"
    path.write_bytes(DATA[:-1] + b"x")
    said: list[str] = []
    assert fetch(source, tmp_path, say=said.append).read_bytes() == DATA
    assert any("(pinned when it was first used;" in line and "net.pth.sha256)" in line for line in said)
    path.unlink()
    server.add("/net", b"another file")
    with pytest.raises(FetchError, match=f"expected sha256 {SHA256}, got .* .pinned when") as info:
        fetch(source, tmp_path)
    assert hashlib.sha256(b"another file").hexdigest()[:16] in str(info.value)
    assert not path.exists()


def test_a_file_put_there_by_hand_is_used_and_pinned(tmp_path, no_sockets):
    tmp_path.joinpath("net.pth").write_bytes(DATA)
    source = Source("net.pth", manual="Ask the authors.")
    assert fetch(source, tmp_path) == tmp_path / "net.pth"
    assert (tmp_path / "net.pth.sha256").read_text().startswith(SHA256)
    tmp_path.joinpath("net.pth").write_bytes(b"else")
    with pytest.raises(FetchError, match=f"expected sha256 {SHA256}"):
        fetch(source, tmp_path)


def test_a_file_in_a_directory_that_cannot_be_written_is_used_unpinned(tmp_path, monkeypatch):
    tmp_path.joinpath("net.pth").write_bytes(DATA)

    def refuse(_source: Source, path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("sslbench.sources.fetch.pin", refuse)
    said: list[str] = []
    assert fetch(Source("net.pth", manual="."), tmp_path, say=said.append) == tmp_path / "net.pth"
    assert "its digest could not be pinned: [Errno 13] Permission denied" in said[0]


def test_only_a_person_can_get_a_file_without_address(tmp_path):
    with pytest.raises(FetchError) as info:
        fetch(Source("cars.tgz", manual="Log in at example.org and accept the terms."), tmp_path)
    assert str(info.value).splitlines() == [
        f"{tmp_path / 'cars.tgz'} is missing; it has to be fetched by hand.",
        "  By hand: Log in at example.org and accept the terms.",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_replaced_only_by_a_sound_one(server, tmp_path):
    tmp_path.joinpath("net.pth").write_bytes(b"damaged")
    url = server.add("/net", DATA, statuses=[404])
    with pytest.raises(FetchError):
        fetch(Source("net.pth", (url,), md5=MD5), tmp_path)
    assert (tmp_path / "net.pth").read_bytes() == b"damaged"
    assert fetch(Source("net.pth", (url,), md5=MD5), tmp_path).read_bytes() == DATA


def test_offline_opens_no_socket(tmp_path, no_sockets):
    source = Source("net.pth", ("http://127.0.0.1:9/net.pth", "https://example.org/net.pth"), md5=MD5)
    with pytest.raises(FetchError) as info:
        fetch(source, tmp_path, offline=True)
    assert f"{tmp_path / 'net.pth'} is missing; offline, nothing is fetched. Run the same command" in str(info.value)
    assert list(tmp_path.iterdir()) == []
    tmp_path.joinpath("net.pth").write_bytes(b"damaged")
    with pytest.raises(FetchError, match=f"is not the expected file: expected md5 {MD5}.*Remove it; offline"):
        fetch(source, tmp_path, offline=True)
    tmp_path.joinpath("net.pth").write_bytes(DATA)
    assert fetch(source, tmp_path, offline=True) == tmp_path / "net.pth"
    # The guard of this test works: without `offline` a socket is wanted.
    with pytest.raises(AssertionError, match="a socket was opened"):
        fetch(Source("other.pth", source.urls), tmp_path)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gs://bucket/net.pth", "ftp://127.0.0.1/net.pth", "net.pth", "http://"]
)
def test_addresses_of_other_kinds_are_refused(tmp_path, url):
    with pytest.raises(FetchError) as info:
        fetch(Source("net.pth", (url,)), tmp_path)
    assert str(info.value).splitlines()[1] == f"  {url}: only http and https addresses are fetched"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_to_another_kind_is_refused(server, tmp_path, target):
    url = server.add("/away", statuses=[302] * 9, headers={"Location": target})
    with pytest.raises(FetchError, match="/away: "):
        fetch(Source("net.pth", (url,)), tmp_path)
    assert not (tmp_path / "net.pth").exists()


def test_a_redirect_keeps_the_range(server, tmp_path):
    target = server.add("/real", DATA, breaks=[4000])
    url = server.add("/moved", statuses=[302, 301], headers={"Location": target})
    assert fetch(Source("net.pth", (url,), md5=MD5), tmp_path).read_bytes() == DATA
    assert server.ranges("/real") == ["", "bytes=4000-"]


def test_a_redirect_away_from_https_is_refused():
    from urllib.request import Request

    from sslbench.sources.web import AddressError, _Redirects

    request = Request("https://example.org/net.pth")
    with pytest.raises(AddressError, match="redirected from https to http:"):
        _Redirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/net.pth")
    assert _Redirects().redirect_request(request, None, 302, "Found", {}, "https://example.org/x") is not None


def test_a_host_that_does_not_answer_is_given_up_soon(server, tmp_path):
    server.http.server_close()
    with pytest.raises(FetchError, match=rf"no connection: .*refused.*\({download.TRIES_UNCONNECTED} tries\)"):
        fetch(Source("net.pth", (f"{server.root}/net",)), tmp_path)


def test_a_silent_server_is_given_up(server, tmp_path):
    server.gate = threading.Event()
    url = server.add("/net", DATA)
    with pytest.raises(FetchError, match="no answer in time"):
        fetch(Source("net.pth", (url,)), tmp_path, timeout=0.02)
    server.gate.set()


class FullDisk:
    """A file on a disk with room for `room` more bytes."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *_error: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        self.file.write(data[: self.room])
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data)


def test_a_full_disk_is_told_and_the_part_can_be_continued(server, tmp_path, monkeypatch):
    urls = (server.add("/net", DATA), server.add("/mirror", DATA))
    source = Source("net.pth", urls, md5=MD5)
    with monkeypatch.context() as patch:
        opened = Path.open

        def full(path: Path, mode: str = "r", **options):
            file = opened(path, mode, **options)
            return FullDisk(file, 20_000) if path.name == "net.pth.part" and mode == "ab" else file

        patch.setattr(Path, "open", full)
        with pytest.raises(FetchError) as info:
            fetch(source, tmp_path)
    assert "No space left on device" in str(info.value)
    assert f"20000 bytes are kept in {tmp_path / 'net.pth.part'}, and the same command goes on" in str(info.value)
    assert not (tmp_path / "net.pth").exists()
    assert fetch(source, tmp_path).read_bytes() == DATA
    # No mirror is asked for what is no fault of the server's.
    assert server.seen == [("/net", ""), ("/net", "bytes=20000-")]
    only_the_file(tmp_path)


def test_an_interrupt_keeps_the_part(server, tmp_path, monkeypatch):
    source = Source("net.pth", (server.add("/net", DATA, breaks=[30_000]),), md5=MD5)

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download.time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(source, tmp_path)
    assert not (tmp_path / "net.pth").exists()
    assert fetch(source, tmp_path).read_bytes() == DATA
    assert server.ranges("/net") == ["", "bytes=30000-"]


def test_a_directory_that_cannot_be_made(tmp_path):
    tmp_path.joinpath("file").write_text("")
    with pytest.raises(FetchError, match="cannot be read or written"):
        fetch(Source("net.pth", ("http://127.0.0.1:9/",)), tmp_path / "file")


WORKER = """
import sys
from pathlib import Path
from sslbench.sources import Source
from sslbench.sources.fetch import fetch
fetch(Source("net.pth", (sys.argv[1],), md5=sys.argv[2]), Path(sys.argv[3]), say=lambda text: print(text, flush=True))
"""


def test_of_two_processes_one_fetches_and_the_other_waits(server, tmp_path):
    server.gate = threading.Event()
    url = server.add("/net", DATA)
    command = [sys.executable, "-c", WORKER, url, MD5, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == f"net.pth: fetching from {url}\n"
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
            assert "another process is fetching it; waiting" in second.stdout.readline()
            server.gate.set()
            assert second.wait(30) == 0
            assert second.stdout.read() == ""
        assert first.wait(30) == 0
    assert (tmp_path / "net.pth").read_bytes() == DATA
    assert server.seen == [("/net", "")]


def test_notes_of_a_part_are_plain_json(server, tmp_path):
    url = server.add("/net", DATA, breaks=[10] + [0] * 9)
    with pytest.raises(FetchError):
        fetch(Source("net.pth", (url,)), tmp_path)
    notes = json.loads((tmp_path / "net.pth.part.json").read_text())
    assert notes == {"url": url, "validator": '"1"', "total": len(DATA)}
