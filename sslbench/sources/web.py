"""One HTTP request, its failures told apart by what should follow: another try, or another address."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from sslbench.errors import FetchError

# Some hosts refuse clients that do not name themselves.
AGENT = "sslbench (pytest benchmark of vision backbones)"
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT = 60.0


class AddressError(FetchError):
    """This address does not give the file; another may."""


class BrokenError(FetchError):
    """A transfer that another try may mend. wait: seconds that the server asked for. connected: whether it answered."""

    def __init__(self, message: str, *, wait: float = 0.0, connected: bool = True) -> None:
        super().__init__(message)
        self.wait = wait
        self.connected = connected


class RangeError(BrokenError):
    """The server has no such range of the file: what is here is not the beginning of what is there."""


class _Redirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        # Where no digest is published, the certificate of the host is all that vouches for the file.
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise AddressError(f"redirected from https to {newurl}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(url: str, headers: Mapping[str, str], timeout: float) -> HTTPResponse:
    """GET, through the environment's proxies and across redirects; close what it returns.

    timeout: seconds without a sign of life. Raises AddressError or BrokenError.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise AddressError("only http and https addresses are fetched")
    try:
        response: HTTPResponse = _opener().open(Request(url, headers={"User-Agent": AGENT, **headers}), timeout=timeout)
    except HTTPError as error:
        with error:
            raise _refusal(error) from error
    except URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise AddressError(f"its certificate is not trusted: {reason.verify_message}") from error
        if isinstance(reason, socket.gaierror) and reason.errno != socket.EAI_AGAIN:
            raise AddressError(f"unknown host: {reason.strerror}") from error
        raise BrokenError(f"no connection: {reason}", connected=False) from error
    except (HTTPException, OSError) as error:
        raise BrokenError(told(error)) from error
    except ValueError as error:
        raise AddressError(f"not a usable address: {error}") from error
    return response


def told(error: Exception) -> str:
    """An exception of a connection in words."""
    return "no answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"


def _opener() -> OpenerDirector:
    # Not build_opener: it would follow redirects to ftp, and read file: and data: addresses.
    opener = OpenerDirector()
    handlers = (
        *(ProxyHandler, UnknownHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler),
        *(_Redirects, HTTPErrorProcessor),
    )
    for handler in handlers:
        opener.add_handler(handler())
    return opener


def _refusal(error: HTTPError) -> FetchError:
    status = f"HTTP {error.code} {error.reason}"
    if error.code == 416:
        return RangeError(status)
    if error.code not in PASSING:
        return AddressError(status)
    wait = error.headers.get("Retry-After", "")
    return BrokenError(status, wait=min(float(wait), LONGEST_WAIT) if wait.isdecimal() else 0.0)
