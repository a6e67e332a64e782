"""One address into FILE.part: continued where that is safe, tried again where the connection breaks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse

from sslbench.sources.page import describe_page, is_page
from sslbench.sources.part import Origin, Part
from sslbench.sources.source import Source
from sslbench.sources.web import AddressError, BrokenError, RangeError, open_url, told

Say = Callable[[str], None]

TRIES = 5
# A host that cannot be reached at all is given up sooner: on a machine without internet every address is like that.
TRIES_UNCONNECTED = 2
BACKOFF = 1.0
CHUNK = 1 << 20

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def download(url: str, part: Part, source: Source, *, verified: bool, say: Say, timeout: float) -> None:
    """Bring the part to its full length.

    verified: a digest is going to be checked, so that the bytes of another mirror may be continued from this one.
    Raises AddressError when this address does not give the file, and OSError when it cannot be written.
    """
    failures, furthest = 0, part.size
    while True:
        try:
            _transfer(url, part, source, verified=verified, timeout=timeout)
            return
        except BrokenError as error:
            if isinstance(error, RangeError):
                part.discard()
            # Large files come in many pieces over a weak line; only standing still uses up the tries.
            failures = 1 if part.size >= furthest + CHUNK else failures + 1
            furthest = max(furthest, part.size)
            if failures >= (TRIES if error.connected else TRIES_UNCONNECTED):
                raise AddressError(f"{error} ({failures} tries)") from error
            pause = max(error.wait, BACKOFF * 2 ** (failures - 1))
            say(f"{url}: {error}; trying again in {pause:g} s")
            time.sleep(pause)


def _transfer(url: str, part: Part, source: Source, *, verified: bool, timeout: float) -> None:
    origin = part.origin if part.size else None
    if origin is not None and origin.url != url and not verified:
        origin = None
    headers = {}
    if origin is not None:
        if part.size == origin.total:
            return
        headers["Range"] = f"bytes={part.size}-"
        if origin.url == url and origin.validator:
            headers["If-Range"] = origin.validator
    with open_url(url, headers, timeout) as response:
        offset, total = _place(response)
        if total is not None and source.size is not None and total != source.size:
            raise AddressError(f"it announces {total} bytes, expected {source.size}")
        if offset and (origin is None or offset != part.size or total != origin.total):
            raise RangeError("it does not continue the file that was begun")
        first = _read(response, CHUNK)
        if not offset:
            if is_page(source.filename, first, response.headers.get("Content-Type", "")):
                raise AddressError(describe_page(first))
            part.begin(Origin(url, _validator(response), total))
        _append(response, first, part, total, source.filename)
    if total is not None and part.size < total:
        raise BrokenError(f"the connection ended after {part.size} of {total} bytes")


def _append(response: HTTPResponse, chunk: bytes, part: Part, total: int | None, name: str) -> None:
    from tqdm import tqdm

    done = part.size
    # disable=None: a bar on a terminal only.
    with (
        part.path.open("ab") as file,
        tqdm(total=total, initial=done, desc=name, unit="B", unit_scale=True, leave=False, disable=None) as bar,
    ):
        while chunk:
            file.write(chunk)
            done += len(chunk)
            bar.update(len(chunk))
            # Counted here, because a server may keep the connection open after the last byte.
            chunk = _read(response, CHUNK if total is None else min(CHUNK, total - done))


def _read(response: HTTPResponse, size: int) -> bytes:
    try:
        return response.read1(size) if size else b""
    except (HTTPException, OSError) as error:
        raise BrokenError(told(error)) from error


def _place(response: HTTPResponse) -> tuple[int, int | None]:
    """Where in the file the body begins, and how long the whole file is."""
    if response.status == 206:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None:
            raise RangeError("it sends a part of the file without saying which")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    if response.status != 200:
        raise AddressError(f"HTTP {response.status} {response.reason}")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _validator(response: HTTPResponse) -> str:
    """What If-Range takes: a strong ETag, else the date of the file."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
