"""A part of a file is continued only where the rest belongs to it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sslbench.errors import FetchError
from sslbench.sources import Source, download
from sslbench.sources.fetch import fetch
from sslbench.sources.part import Part

from .fetched import DATA, MD5, only_the_file


@pytest.mark.parametrize(
    "validators", [{}, {"etag": "", "modified": "Mon, 02 Nov 2026 10:00:00 GMT"}, {"etag": 'W/"1"'}]
)
@pytest.mark.parametrize("published", [{"md5": MD5}, {}])
def test_a_broken_connection_is_continued(server, tmp_path, validators, published):
    url = server.add("/net", DATA, breaks=[1000, 500_000], **validators)
    said: list[str] = []
    path = fetch(Source("net.pth", (url,), **published), tmp_path, say=said.append)
    assert path.read_bytes() == DATA
    first, second, third = server.ranges("/net")
    assert first == ""
    assert (second, third) == ("bytes=1000-", "bytes=501000-")
    assert any(f"the connection ended after 1000 of {len(DATA)} bytes" in line for line in said)
    only_the_file(tmp_path)


def test_a_connection_that_breaks_too_often_ends_but_the_next_run_goes_on(server, tmp_path):
    url = server.add("/net", DATA, breaks=[1000] + [10] * (download.TRIES - 1))
    with pytest.raises(FetchError, match=f"the connection ended after 1040 of {len(DATA)} bytes") as info:
        fetch(Source("net.pth", (url,), md5=MD5), tmp_path)
    assert f"({download.TRIES} tries)" in str(info.value)
    assert not (tmp_path / "net.pth").exists()
    assert Part(tmp_path / "net.pth").path.read_bytes() == DATA[:1040]
    assert fetch(Source("net.pth", (url,), md5=MD5), tmp_path).read_bytes() == DATA
    assert server.ranges("/net")[-1] == "bytes=1040-"


def test_progress_renews_the_tries(server, tmp_path):
    piece = 1 << 20
    data = DATA * 4
    url = server.add("/net", data, breaks=[piece] * 11)
    fetched = fetch(Source("net.pth", (url,), sha256=hashlib.sha256(data).hexdigest()), tmp_path)
    assert fetched.read_bytes() == data
    assert len(server.seen) == 12


def test_a_server_that_gives_ranges_in_pieces(server, tmp_path):
    url = server.add("/net", DATA, breaks=[10], piece=2 << 20)
    assert fetch(Source("net.pth", (url,), md5=MD5), tmp_path).read_bytes() == DATA
    assert server.ranges("/net") == ["", "bytes=10-", f"bytes={10 + (2 << 20)}-"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    url = server.add("/net", DATA, ranges=False, breaks=[70_000])
    assert fetch(Source("net.pth", (url,), md5=MD5), tmp_path).read_bytes() == DATA
    assert server.ranges("/net") == ["", "bytes=70000-"]


def test_a_file_that_changed_on_the_server_is_never_spliced(server, tmp_path):
    old, new = b"o" * 5000, b"n" * 5000
    url = server.add("/net", old, breaks=[2000] + [0] * 9)
    with pytest.raises(FetchError):
        fetch(Source("net.pth", (url,)), tmp_path)
    server.add("/net", new, etag='"2"')
    assert fetch(Source("net.pth", (url,)), tmp_path).read_bytes() == new
    assert server.ranges("/net")[-1] == "bytes=2000-"


def test_a_changed_length_is_noticed_without_validators(server, tmp_path):
    url = server.add("/net", b"o" * 5000, breaks=[2000] + [0] * 9, etag="")
    with pytest.raises(FetchError):
        fetch(Source("net.pth", (url,)), tmp_path)
    server.add("/net", b"n" * 6000, etag="")
    assert fetch(Source("net.pth", (url,)), tmp_path).read_bytes() == b"n" * 6000


def test_a_shorter_file_on_the_server_is_fetched_from_the_start(server, tmp_path):
    url = server.add("/net", b"o" * 5000, breaks=[2000] + [0] * 9, etag="")
    with pytest.raises(FetchError):
        fetch(Source("net.pth", (url,)), tmp_path)
    server.add("/net", b"n" * 1500, etag="")
    assert fetch(Source("net.pth", (url,)), tmp_path).read_bytes() == b"n" * 1500


def broken_part(server, tmp_path: Path, begin: bytes, published: dict[str, str]) -> tuple[str, ...]:
    """Addresses of a file that another mirror began with `begin` and can no longer finish."""
    first = server.add("/first", begin + DATA[len(begin) :], breaks=[len(begin)] + [0] * 9)
    with pytest.raises(FetchError):
        fetch(Source("net.pth", (first,), **published), tmp_path)
    del server.resources["/first"]
    return first, server.add("/second", DATA)


def test_another_mirror_continues_where_a_digest_will_tell(server, tmp_path):
    urls = broken_part(server, tmp_path, DATA[:9000], {"md5": MD5})
    assert fetch(Source("net.pth", urls, md5=MD5), tmp_path).read_bytes() == DATA
    assert server.ranges("/second") == ["bytes=9000-"]


def test_another_mirror_starts_again_where_nothing_will_tell(server, tmp_path):
    urls = broken_part(server, tmp_path, DATA[:9000], {})
    assert fetch(Source("net.pth", urls), tmp_path).read_bytes() == DATA
    assert server.ranges("/second") == [""]


def test_a_bad_beginning_does_not_condemn_the_mirror_that_continued_it(server, tmp_path):
    urls = broken_part(server, tmp_path, b"?" * 9000, {"md5": MD5})
    assert fetch(Source("net.pth", urls, md5=MD5), tmp_path).read_bytes() == DATA
    assert server.ranges("/second") == ["bytes=9000-", ""]


def test_a_part_that_was_whole_needs_no_request(server, tmp_path):
    url = server.add("/net", DATA, breaks=[5] + [0] * 9)
    source = Source("net.pth", (url,), md5=MD5)
    with pytest.raises(FetchError):
        fetch(source, tmp_path)
    Part(tmp_path / "net.pth").path.write_bytes(DATA)
    before = len(server.seen)
    assert fetch(source, tmp_path).read_bytes() == DATA
    assert len(server.seen) == before


@pytest.mark.parametrize("notes", [None, "{", "[]", '{"url": 1}'])
def test_a_part_of_unknown_origin_is_not_continued(server, tmp_path, notes):
    tmp_path.joinpath("net.pth.part").write_bytes(DATA[:100])
    if notes is not None:
        tmp_path.joinpath("net.pth.part.json").write_text(notes)
    url = server.add("/net", DATA)
    assert fetch(Source("net.pth", (url,), md5=MD5), tmp_path).read_bytes() == DATA
    assert server.ranges("/net") == [""]
