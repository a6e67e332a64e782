"""A store: objects by name below a URL, asked again where an error may pass, and never waited for without end."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from sslbench.errors import StoreError
from sslbench.store.drivers import Driver, open_driver
from sslbench.store.url import is_url

# Seconds before the second, third and fourth try.
WAITS = (0.2, 0.8, 3.0)
PATIENCE = 30.0
# After so many seconds the first question of all is not asked again: nobody is to wait long to hear of a wrong URL.
_BRIEF = 4.0
_UPWARD = {".", ".."}
# Bytes a second that a transfer is given at least, beyond that patience.
_SLOWEST = 1_000_000

_LOOK = (
    "look at the URL, whether its bucket exists, and at the credentials that its driver finds (environment, files of the cloud's "
    "own command, or the machine's role)"
)

T = TypeVar("T")


class Store:
    """Objects below a URL: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `file:///FOLDER`, or another that fsspec knows.

    An object is there whole or not at all, whenever its writer is killed. Nothing is opened before the first call; a store can be
    pickled, and used by several threads. patience: seconds that one try may take, beyond those that its bytes need at 1 MB/s.
    brief: for a first question, which is given up within seconds where nobody can be reached.

    Every method raises StoreError where the store does not answer in four tries, or an error will not pass.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE, brief: bool = False) -> None:
        if not is_url(url):
            raise StoreError(
                f"expected a URL such as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER, got {url!r}"
            )
        self.url, self.patience, self._brief = url.rstrip("/"), patience, brief
        self._driver: Driver | None = None
        self._process = 0

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[str]]:
        return type(self), (self.url,)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def below(self, part: str) -> Store:
        """The store of the names that begin with `PART/`."""
        return Store(f"{self.url}/{part}", patience=self.patience)

    def check(self) -> None:
        """Write, read and delete a small object. Raises StoreError that says what to do, before anything is computed."""
        name, data = f".check-{secrets.token_hex(8)}", secrets.token_bytes(16)
        first = Store(self.url, patience=self.patience, brief=True)
        try:
            with _quiet():
                first.write(name, data)
                found = first.read(name)
                first.delete(name)
        except StoreError as error:
            raise StoreError(f"{error}. Expected a store that can be written and read: {_LOOK}") from error
        if found != data:
            raise StoreError(
                f"{self.url}: a small object was written, and what is read is not it; choose another store"
            )

    def first_names(self, prefix: str = "") -> dict[str, str]:
        """As `names`, of a store that is only to be read. Raises StoreError that says what to do."""
        try:
            with _quiet():
                return Store(self.url, patience=self.patience, brief=True).names(prefix)
        except StoreError as error:
            raise StoreError(f"{error}. Expected a store that can be read: {_LOOK}") from error

    def size(self, name: str) -> int | None:
        """Bytes of an object; None where it is not there."""
        return self._ask(f"look for {name}", lambda driver: driver.size(name))

    def read(self, name: str) -> bytes | None:
        """All of a small object; None where it is not there."""

        def read(driver: Driver) -> bytes | None:
            with contextlib.suppress(FileNotFoundError):
                return driver.read(name)
            return None

        return self._ask(f"read {name}", read)

    def get(self, name: str, into: Path) -> bool:
        """Copy an object to a file, at once and in place of what is there; whether there is such an object.

        It is as it was written unless the store is damaged, which is the caller's to check.
        """
        size = self.size(name)
        if size is None:
            return False
        into.parent.mkdir(parents=True, exist_ok=True)

        def fetch(driver: Driver) -> Path | None:
            # Each try has a file of its own: one that was given up may go on writing.
            temporary = into.with_name(f"{into.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
            try:
                driver.get(name, temporary)
                # It may have been written again since: then it is whole at its new size.
                if (got := temporary.stat().st_size) != size and got != driver.size(name):
                    raise OSError(f"expected {size} bytes, got {got}")
            except FileNotFoundError:
                temporary.unlink(missing_ok=True)
                return None
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            return temporary

        def late(temporary: Path | None) -> None:
            if temporary is not None:
                temporary.unlink(missing_ok=True)

        temporary = self._ask(f"read {name}", fetch, size=size, late=late)
        if temporary is None:
            return False
        temporary.replace(into)
        return True

    def put(self, path: Path, name: str) -> None:
        """Copy a file to an object, in place of one that is there. Raises FileNotFoundError for a file that is not there."""
        size = path.stat().st_size
        self._ask(f"write {name}", lambda driver: driver.put(path, name), size=size)

    def write(self, name: str, data: bytes) -> None:
        """Write an object from memory, in place of one that is there."""
        self._ask(f"write {name}", lambda driver: driver.write(name, data), size=len(data))

    def create(self, name: str, data: bytes) -> bool:
        """Write a small object only where there is none; whether this call wrote it.

        data: unlike that of any other call, so that an answer that was lost can be told from somebody else's object.
        """

        self._ask(f"create {name}", lambda driver: driver.create(name, data))
        # Read in any case: a try that was given up may have succeeded, and some servers do not know the condition.
        return self.read(name) == data

    def names(self, prefix: str = "") -> dict[str, str]:
        """The names that begin so, each with a text that changes when the object does.

        Those with a part `.` or `..` are left out: object stores allow them, and below a directory they would lead out of it.
        """
        found = self._ask(f"list {prefix or 'its objects'}", lambda driver: driver.names(prefix))
        return {name: version for name, version in found.items() if _UPWARD.isdisjoint(name.split("/"))}

    def delete(self, name: str) -> None:
        """Remove an object; nothing happens where it is not there."""
        self._ask(f"delete {name}", lambda driver: driver.delete(name))

    def _open(self) -> Driver:
        # Drivers hold connections and threads, which a process does not inherit.
        if self._driver is None or self._process != os.getpid():
            self._driver, _ = open_driver(self.url, brief=self._brief)
            self._process = os.getpid()
        return self._driver

    def _ask(
        self,
        what: str,
        call: Callable[[Driver], T],
        *,
        size: int = 0,
        late: Callable[[T], None] = lambda answer: None,
    ) -> T:
        """The answer of the first try that gives one. late: takes an answer that came when it was given up."""
        seconds, begun = self.patience + size / _SLOWEST, time.monotonic()
        for wait in (*WAITS, None):
            try:
                return _within(seconds, lambda: call(self._open()), late)
            except StoreError:
                raise
            except Exception as error:
                late_by_now = self._brief and time.monotonic() - begun >= _BRIEF
                if wait is None or late_by_now or _stays(error):
                    raise StoreError(f"{self.url}: could not {what}: {_reason(error, seconds)}") from error
                # Not all at a time who were turned away at the same time.
                time.sleep(wait * random.uniform(0.75, 1.25))
        raise AssertionError("the last try returns or raises")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Google's driver from printing around our one error what it logs of a first question; a level that was set stays."""
    loggers = [logger for logger in map(logging.getLogger, ("gcsfs", "google.auth")) if not logger.level]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger in loggers:
            # Unless the driver, imported meanwhile, has set what GCSFS_DEBUG says.
            if logger.level == logging.CRITICAL:
                logger.setLevel(logging.NOTSET)


def _within(seconds: float, call: Callable[[], T], late: Callable[[T], None]) -> T:
    """What `call` returns. Raises TimeoutError after so long; the call goes on then, and its answer is given to `late`."""
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised by the one who waits
            answer.set_exception(error)

    # Not an executor's, for whose threads the interpreter waits at its end: this one may hang.
    threading.Thread(target=work, name="sslbench-store", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        # May also be what the call itself raised.
        if not answer.done():
            answer.add_done_callback(lambda done: None if done.exception() else late(done.result()))
        raise
    except BaseException:
        answer.add_done_callback(lambda done: None if done.exception() else late(done.result()))
        raise


_STAYING = (
    FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError, ValueError, TypeError,
    NotImplementedError, ImportError,
)  # fmt: skip
# Of libraries that are not imported for this.
_STAYING_NAMES = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ParamValidationError", "ProfileNotFound",
    "DefaultCredentialsError",
}  # fmt: skip
_STAYING_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG}


def _stays(error: Exception) -> bool:
    """Whether to ask again is of no use."""
    code = str(getattr(error, "code", ""))
    refused = code.isdecimal() and 400 <= int(code) < 500 and int(code) not in (408, 409, 429)
    return (
        isinstance(error, _STAYING)
        or type(error).__name__ in _STAYING_NAMES
        or getattr(error, "errno", None) in _STAYING_NUMBERS
        or refused
    )


def _reason(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {seconds:.0f} s"
    text = " ".join(str(error).split()) or "no more is known"
    return f"{type(error).__name__}: {text[:300]}"
