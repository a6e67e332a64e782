"""Requests: proxies, certificates, hosts that nobody knows, and pages that are no files."""

from __future__ import annotations

import socket
import ssl
from urllib.error import URLError

import pytest

from sslbench.errors import FetchError
from sslbench.sources import Source, download, web
from sslbench.sources.fetch import fetch
from sslbench.sources.page import describe_page, is_page


def test_the_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.root)
    monkeypatch.delenv("no_proxy", raising=False)
    server.add("http://files.invalid/net.pth", b"weights")
    path = fetch(Source("net.pth", ("http://files.invalid/net.pth",)), tmp_path)
    assert path.read_bytes() == b"weights"


def certificate() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("reason", "said", "tries"),
    [
        (certificate(), "its certificate is not trusted: self-signed certificate", 1),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "unknown host: Name or service not known", 1),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "no connection", download.TRIES_UNCONNECTED),
        (ConnectionRefusedError(111, "Connection refused"), "no connection", download.TRIES_UNCONNECTED),
        (TimeoutError("timed out"), "no connection: timed out", download.TRIES_UNCONNECTED),
    ],
)
def test_only_what_may_pass_is_tried_again(server, tmp_path, monkeypatch, reason, said, tries):
    opened = []

    class Opener:
        def open(self, request, timeout):
            opened.append(request.full_url)
            raise URLError(reason)

    monkeypatch.setattr(web, "_opener", Opener)
    with pytest.raises(FetchError, match=said):
        fetch(Source("net.pth", ("https://files.invalid/net.pth",)), tmp_path)
    assert len(opened) == tries


PAGES = [
    b"<!DOCTYPE html><html></html>",
    b"\xef\xbb\xbf \r\n<HTML lang=en>",
    b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">',
    b"<!-- one --><!-- two -->\n<head>",
    b"<script>location = 'login'</script>",
]
FILES = [
    b"PK\3\4",
    b"\x80\x02}q\x00",
    b"",
    b"class label\n",
    b'<?xml version="1.0"?><annotation>',
    b"<!-- a -->" * 3000,
    b"<",
]


@pytest.mark.parametrize("head", PAGES)
def test_pages_are_recognised_by_their_beginning(head):
    assert is_page("net.pth", head)
    assert not is_page("index.html", head)


@pytest.mark.parametrize("head", FILES)
def test_files_are_no_pages(head):
    assert not is_page("net.pth", head, "application/x-tar")
    assert not is_page("net.pth", head, "text/plain")
    assert is_page("net.pth", head, "Text/HTML; charset=utf-8")


def test_a_page_is_described_by_its_title_if_it_has_one():
    assert "('Sign in & wait') instead" in describe_page(b"<html><title>\n Sign in &amp;\twait </title>")
    assert describe_page(b"<html>").startswith("an HTML page instead of the file")
