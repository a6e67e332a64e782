"""A web server on this machine whose files misbehave on request, and a guard against sockets."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sslbench import tasks
from sslbench.backbones import registry as backbones
from sslbench.backbones.source import SOURCES
from sslbench.datasets import FAMILIES
from sslbench.datasets import registry as datasets
from sslbench.protocols import registry as protocols
from sslbench.sources import download
from sslbench.studies import STUDIES


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[object]) -> None:
    """Each worker gets its share of the cores, from the environment that it starts with.

    Full pools of busy-waiting threads in several workers slow each other down tenfold. A worker cannot set this itself:
    NumPy and SciPy, which are there before this file is read, take the number of their threads from the environment
    when they are loaded.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(specs))))


@dataclass
class Resource:
    """What one path answers.

    etag, modified: validators. ranges: whether Range is honoured. breaks: after how many bytes of the body each of the
    next transfers breaks off. statuses: of the next requests, before the file is given. announce: Content-Length, if
    not the true one; None sends none. pieces: largest part given for a Range.
    """

    data: bytes = b""
    etag: str = '"1"'
    modified: str = ""
    ranges: bool = True
    content_type: str = "application/octet-stream"
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    announce: int | None = -1
    piece: int = 1 << 40


class Server:
    """`add` a resource, get its address; `seen` lists the requests as (path, Range header)."""

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        self.seen: list[tuple[str, str]] = []
        self.gate: threading.Event | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                # A client may leave early.
                with contextlib.suppress(ConnectionError):
                    server.answer(self)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.root = f"http://127.0.0.1:{self.http.server_port}"

    def add(self, path: str, data: bytes = b"", **options: object) -> str:
        self.resources[path] = Resource(data, **options)
        return f"{self.root}{path}"

    def ranges(self, path: str) -> list[str]:
        """The Range headers of the requests for a path, in order."""
        return [header for seen, header in self.seen if seen == path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.seen.append((request.path, request.headers.get("Range", "")))
        if self.gate is not None:
            self.gate.wait(20)
        resource = self.resources.get(request.path)
        if resource is None:
            request.send_error(404)
            return
        if resource.statuses:
            self._status(request, resource, resource.statuses.pop(0))
            return
        self._file(request, resource)

    def _status(self, request: BaseHTTPRequestHandler, resource: Resource, status: int) -> None:
        request.send_response(status)
        for name, value in resource.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _file(self, request: BaseHTTPRequestHandler, resource: Resource) -> None:
        data, start = resource.data, 0
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        condition = request.headers.get("If-Range")
        if asked and resource.ranges and condition in (None, resource.etag, resource.modified):
            start = int(asked[1])
            if start >= len(data):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(data)}")
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            stop = min(start + resource.piece, len(data))
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        else:
            stop = len(data)
            request.send_response(200)
        body = data[start:stop]
        request.send_header("Content-Type", resource.content_type)
        if resource.etag:
            request.send_header("ETag", resource.etag)
        if resource.modified:
            request.send_header("Last-Modified", resource.modified)
        if resource.announce is not None:
            length = len(body) if resource.announce < 0 else resource.announce
            request.send_header("Content-Length", str(length))
        request.send_header("Connection", "close")
        request.end_headers()
        if resource.breaks:
            request.wfile.write(body[: resource.breaks.pop(0)])
            request.wfile.flush()
            request.connection.shutdown(socket.SHUT_RDWR)
        else:
            request.wfile.write(body)
        request.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


class Registries:
    """What names are known: the one place in the tests that knows where the registries keep them."""

    def __init__(self) -> None:
        self._tables = [
            known._items
            for known in (
                backbones.FACTORIES,
                SOURCES,
                datasets.DATASETS,
                FAMILIES,
                protocols.PROTOCOLS,
                STUDIES,
                tasks.SUITES,
            )
        ]
        self._before = [dict(table) for table in self._tables]

    def restore(self) -> None:
        """What has been registered since is forgotten."""
        for table, before in zip(self._tables, self._before, strict=True):
            table.clear()
            table.update(before)

    def redeclare(self, spec: datasets.DatasetSpec | protocols.ProtocolSpec) -> None:
        """Another declaration of a dataset or protocol in place of the one that has its name."""
        known = datasets.DATASETS if isinstance(spec, datasets.DatasetSpec) else protocols.PROTOCOLS
        known._items[spec.name] = spec


@pytest.fixture
def registries() -> Iterator[Registries]:
    """What a test registers is forgotten after it."""
    registries = Registries()
    yield registries
    registries.restore()


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a socket fails."""

    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
