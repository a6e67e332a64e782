"""What a store stands on: a folder, or whatever fsspec opens."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit

from sslbench.errors import StoreError
from sslbench.files import replacing, write_atomic

# Of this package; any other driver of fsspec's is installed by its own name.
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_CONNECT_SECONDS = 3
_TEMPORARY = ".tmp"
_PIECE = 16 << 20


class Driver(Protocol):
    """Objects by name, whole or not there. A method raises whatever its library does; what is not there is FileNotFoundError."""

    def size(self, name: str) -> int | None:
        """In bytes; None where there is no such object."""

    def read(self, name: str) -> bytes:
        """All of a small one."""

    def get(self, name: str, into: Path) -> None:
        """Copy it to a new file."""

    def put(self, path: Path, name: str) -> None:
        """Copy a file to it, in place of one that is there."""

    def write(self, name: str, data: bytes) -> None:
        """As `put`, from memory."""

    def create(self, name: str, data: bytes) -> bool:
        """Write it unless there is one; whether it was written."""

    def names(self, prefix: str) -> dict[str, str]:
        """Those that begin so, and a text for each that is another one once it has been written again."""

    def delete(self, name: str) -> None:
        """Remove it; nothing happens where it is not there."""


def open_driver(url: str, *, brief: bool = False) -> tuple[Driver, str]:
    """The driver of a URL, and the protocol. Raises StoreError where it is not installed, or nothing can be opened.

    brief: one that gives up soon on a server that cannot be reached, of S3 and Google.
    """
    protocol = urlsplit(url).scheme
    if protocol == "file":
        path = Path(url.removeprefix("file://"))
        if not path.is_absolute():
            raise StoreError(f"{url}: expected the path of a folder from the root on, as in file:///shared/sslbench")
        return Folder(path), protocol
    extra = _EXTRAS.get(protocol, "store")
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise StoreError(f"{url}: this needs fsspec; install it with: pip install 'sslbench[{extra}]'") from error
    try:
        options = _brief_options(protocol) if brief else {}
        # Lists that are remembered would be those of before another machine wrote.
        system, root = url_to_fs(url, use_listings_cache=False, **options)
    except ImportError as error:
        remedy = f"pip install 'sslbench[{extra}]'" if protocol in _EXTRAS else str(error)
        raise StoreError(f"{url}: the driver for {protocol}:// is not installed; install it with: {remedy}") from error
    except ValueError as error:
        raise StoreError(
            f"{url}: expected s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER: {error}"
        ) from error
    if options and extra == "s3":
        # Of this instance, which its options tell from the one that works later.
        system.retries = 1
    return Objects(system, root), protocol


def _brief_options(protocol: str) -> dict[str, Any]:
    """Options under which a driver tells at once that it cannot connect: its own retries would multiply with those of `Store`."""
    if protocol not in _EXTRAS:
        return {}
    from fsspec import get_filesystem_class
    from fsspec.config import apply_config

    # An option that is given here replaces the whole one of fsspec's configuration, where a proxy may stand.
    configured = apply_config(get_filesystem_class(protocol), {})
    if _EXTRAS[protocol] == "s3":
        brief = {"connect_timeout": _CONNECT_SECONDS, "retries": {"total_max_attempts": 1}}
        return {"config_kwargs": {**configured.get("config_kwargs", {}), **brief}}
    import aiohttp

    async def fail(_session: Any, _context: Any, what: aiohttp.TraceRequestExceptionParams) -> None:
        # gcsfs tries six times what is an error of aiohttp's, and cannot be told not to.
        raise ConnectionError(str(what.exception)) from what.exception

    trace = aiohttp.TraceConfig()
    trace.on_request_exception.append(fail)
    timeout = aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS)
    session = configured.get("session_kwargs", {})
    traces = [*session.get("trace_configs", []), trace]
    # The last one is of what gcsfs asks first, what kind of bucket this is: two minutes by default, where there is no network.
    return {
        "requests_timeout": timeout,
        "session_kwargs": {**session, "trace_configs": traces},
        "retry_timeout": _CONNECT_SECONDS,
    }


class Folder:
    """A folder that several machines see."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, name: str) -> int | None:
        """See `Driver`."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return (self._root / name).stat().st_size
        return None

    def read(self, name: str) -> bytes:
        """See `Driver`."""
        return (self._root / name).read_bytes()

    def get(self, name: str, into: Path) -> None:
        """See `Driver`."""
        shutil.copyfile(self._root / name, into)

    def put(self, path: Path, name: str) -> None:
        """See `Driver`."""
        with replacing(self._root / name) as temporary:
            shutil.copyfile(path, temporary)

    def write(self, name: str, data: bytes) -> None:
        """See `Driver`."""
        write_atomic(self._root / name, data)

    def create(self, name: str, data: bytes) -> bool:
        """See `Driver`."""
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{os.getpid()}-{secrets.token_hex(4)}{_TEMPORARY}")
        try:
            temporary.write_bytes(data)
            # A second name, which is given to nobody who finds it taken: the object is there whole, or not at all.
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise
            # A file system without second names.
            return _created_exclusively(target, data)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def names(self, prefix: str) -> dict[str, str]:
        """See `Driver`."""
        # From the last folder that the prefix names whole.
        folder = self._root / prefix.rpartition("/")[0]
        found = {}
        for path in folder.rglob("*"):
            name = path.relative_to(self._root).as_posix()
            with contextlib.suppress(FileNotFoundError):
                if name.startswith(prefix) and path.suffix != _TEMPORARY and path.is_file():
                    status = path.stat()
                    # The inode too: clocks of some file systems are coarse, and each version is a file of its own.
                    found[name] = f"{status.st_mtime_ns}-{status.st_ino}-{status.st_size}"
        return found

    def delete(self, name: str) -> None:
        """See `Driver`."""
        (self._root / name).unlink(missing_ok=True)


def _created_exclusively(target: Path, data: bytes) -> bool:
    try:
        with target.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


class Objects:
    """A file system of fsspec's.

    Those of object stores, which are asynchronous, write an object whole or not at all. Others are given a temporary name first.
    """

    def __init__(self, system: Any, root: str) -> None:
        self._system, self._root = system, root.rstrip("/")
        self._whole = bool(getattr(system, "async_impl", False))

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def size(self, name: str) -> int | None:
        """See `Driver`."""
        try:
            described = self._system.info(self._at(name))
        except FileNotFoundError:
            return None
        return int(described["size"]) if described["type"] == "file" else None

    def read(self, name: str) -> bytes:
        """See `Driver`."""
        return bytes(self._system.cat_file(self._at(name)))

    def get(self, name: str, into: Path) -> None:
        """See `Driver`."""
        if self._whole:
            self._system.get_file(self._at(name), str(into))
            return
        size = self.size(name)
        if size is None:
            raise FileNotFoundError(self._at(name))
        with into.open("wb") as file:
            for start in range(0, size, _PIECE):
                file.write(self._system.cat_file(self._at(name), start, min(start + _PIECE, size)))

    def put(self, path: Path, name: str) -> None:
        """See `Driver`."""
        self._written(name, lambda target: self._system.put_file(str(path), target))

    def write(self, name: str, data: bytes) -> None:
        """See `Driver`."""
        self._written(name, lambda target: self._system.pipe_file(target, data))

    def _written(self, name: str, send: Callable[[str], object]) -> None:
        target = self._at(name)
        if self._whole:
            send(target)
            return
        self._system.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
        temporary = f"{target}.{secrets.token_hex(4)}{_TEMPORARY}"
        try:
            send(temporary)
            self._system.mv(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                self._system.rm_file(temporary)
            raise

    def create(self, name: str, data: bytes) -> bool:
        """See `Driver`."""
        try:
            self._system.pipe_file(self._at(name), data, mode="create")
        except Exception as error:
            if not _says_that_it_exists(error):
                raise
            return False
        return True

    def names(self, prefix: str) -> dict[str, str]:
        """See `Driver`."""
        folder = self._at(prefix.rpartition("/")[0]).rstrip("/")
        try:
            found: Mapping[str, Mapping[str, Any]] = self._system.find(folder, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._root) + 1
        return {
            path[start:]: _version(described)
            for path, described in found.items()
            if path[start:].startswith(prefix) and not path.endswith(_TEMPORARY)
        }

    def delete(self, name: str) -> None:
        """See `Driver`."""
        with contextlib.suppress(FileNotFoundError):
            self._system.rm_file(self._at(name))


def _says_that_it_exists(error: Exception) -> bool:
    """S3 and Google say that a condition failed (HTTP 412), each driver in its own way."""
    return (
        isinstance(error, FileExistsError)
        or str(getattr(error, "code", "")) == "412"
        or "PreconditionFailed" in f"{error!r} {error.__cause__!r}"
        or "pre-conditions you specified" in str(error)
    )


def _version(described: Mapping[str, Any]) -> str:
    tags = (described.get(field) for field in ("ETag", "etag", "generation", "md5Hash", "mtime", "created"))
    return f"{next((tag for tag in tags if tag), '')}-{described.get('size')}"
