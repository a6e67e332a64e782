"""A case that cannot run fails with one line; its traceback is shown under -vv."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from traceback import walk_tb
from types import TracebackType

import pytest

import sslbench
from sslbench.errors import SslbenchError
from sslbench.names import printable

_PACKAGE = Path(sslbench.__file__).parent
_LIBRARIES = tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_LONGEST = 400


def shorten(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, case: str) -> None:
    """Replace the report's traceback by a line when something that sslbench called has failed, a user's factory as well.

    What the test itself raises stays as it is, as does what pytest's own functions (skip, fail, exit) raise.
    """
    if call.excinfo is None or item.config.get_verbosity() > 1:
        return
    error, traceback = call.excinfo.value, call.excinfo.tb
    if isinstance(error, pytest.fail.Exception | pytest.skip.Exception | pytest.exit.Exception | KeyboardInterrupt):
        return
    if not any(_PACKAGE in file.parents for file, _ in _places(traceback)):
        return
    # xdist and XML take UTF-8 alone, which names of files need not be.
    failed = pytest.fail.Exception(printable(f"{case}: {describe(error, traceback)}"), pytrace=False)
    info = pytest.ExceptionInfo.from_exc_info((type(failed), failed, traceback))
    report.longrepr = item.repr_failure(info)


def describe(error: BaseException, traceback: TracebackType) -> str:
    """The exception in a line, with the innermost place in the user's code, or the innermost of all."""
    name, message = type(error).__name__, str(error)
    if isinstance(error, SslbenchError):
        return f"{name}: {message}"
    places = _places(traceback)
    file, line = ([place for place in places if _is_own(place[0])] or places)[-1]
    text = " ".join(message.split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} ..."
    return f"{name}: {text} ({file}:{line}; -vv shows more)" if text else f"{name} ({file}:{line}; -vv shows more)"


def _places(traceback: TracebackType) -> list[tuple[Path, int]]:
    return [(Path(frame.f_code.co_filename), line) for frame, line in walk_tb(traceback)]


def _is_own(file: Path) -> bool:
    # Code without a file has a name such as <string>.
    return file.is_absolute() and not any(folder in file.parents for folder in (_PACKAGE, *_LIBRARIES))
