"""No connection while something is loaded: huggingface_hub, and torch.hub, timm and whatever else goes through urllib."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from urllib.request import OpenerDirector, Request

_VARIABLE = "HF_HUB_OFFLINE"


class _Shared:
    """Threads may load at the same time: the first one in changes the process, the last one out changes it back."""

    lock = threading.Lock()
    inside = 0
    undo = ExitStack()


@contextmanager
def offline(active: bool = True) -> Iterator[None]:
    """Within it, loaders find what is on this machine and open no connection; afterwards everything is as it was.

    It holds for the whole process. active: False changes nothing. What opens sockets by itself, past huggingface_hub and
    urllib, is not kept from it.
    """
    if not active:
        yield
        return
    with _Shared.lock:
        _Shared.inside += 1
        if _Shared.inside == 1:
            _enter(_Shared.undo)
    try:
        yield
    finally:
        with _Shared.lock:
            _Shared.inside -= 1
            if not _Shared.inside:
                _Shared.undo.close()


def _enter(undo: ExitStack) -> None:
    import urllib.request

    import huggingface_hub.constants

    # The library reads the variable once, when it is imported; processes that a loader starts read it again.
    hub: Any = huggingface_hub.constants
    undo.callback(setattr, hub, _VARIABLE, getattr(hub, _VARIABLE))
    undo.callback(_restore_variable, os.environ.get(_VARIABLE))
    # There is no public way to ask which opener is installed; without one, urlopen makes its own.
    undo.callback(urllib.request.install_opener, vars(urllib.request)["_opener"])
    setattr(hub, _VARIABLE, True)
    os.environ[_VARIABLE] = "1"
    urllib.request.install_opener(_local_opener())


def _restore_variable(value: str | None) -> None:
    if value is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = value


def _local_opener() -> OpenerDirector:
    """An opener that reads local files and answers any other address as if the network were down.

    Loaders are prepared for that: torch.hub then looks for the repository among those it has.
    """
    from urllib.error import URLError
    from urllib.request import BaseHandler, DataHandler, FileHandler, OpenerDirector, UnknownHandler

    class Refusal(BaseHandler):
        def http_open(self, request: Request) -> NoReturn:
            raise URLError(f"offline: {request.full_url} was not opened")

        https_open = ftp_open = http_open

    opener = OpenerDirector()
    for handler in (FileHandler, DataHandler, UnknownHandler, Refusal):
        opener.add_handler(handler())
    return opener
