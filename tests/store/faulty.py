"""An object store in memory that answers late, twice or with errors, as its seed says."""

from __future__ import annotations

import random
import threading
import time
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class FaultyFileSystem(MemoryFileSystem):
    """faulty://. Every call may fail before or after it did something, or do it late; never more than three times in a row."""

    protocol: ClassVar[Any] = ("faulty",)
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    # As an object store: no temporary names, an object is written at once.
    async_impl = True

    chance = random.Random(0)
    rate: ClassVar[float] = 0.0
    late: ClassVar[float] = 0.0
    error: ClassVar[type[Exception]] = ConnectionError
    most: ClassVar[int] = 3
    calls: ClassVar[int] = 0
    faults: ClassVar[int] = 0
    _row: ClassVar[int] = 0
    _lock = threading.Lock()
    _inside = threading.local()

    @classmethod
    def reset(cls, **behaviour: Any) -> None:
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]
        cls.behave(**behaviour)

    @classmethod
    def behave(
        cls,
        seed: int = 0,
        rate: float = 0.0,
        late: float = 0.0,
        error: type[Exception] = ConnectionError,
        most: int = 3,
    ) -> None:
        cls.chance, cls.rate, cls.late, cls.error, cls.most = random.Random(seed), rate, late, error, most
        cls.calls = cls.faults = cls._row = 0

    def _faulty(self, name: str, *args: Any, **options: Any) -> Any:
        cls = type(self)
        if getattr(cls._inside, "call", False):
            # What the file system asks itself.
            return getattr(super(), name)(*args, **options)
        with cls._lock:
            cls.calls += 1
            fails = cls._row < cls.most and cls.chance.random() < cls.rate
            cls._row = cls._row + 1 if fails else 0
            cls.faults += fails
            kind = cls.chance.choice(["before", "after", *(["late"] if cls.late else [])])
        if fails and kind == "before":
            raise cls.error("the connection broke")
        if fails and kind == "late":
            time.sleep(cls.late)
        cls._inside.call = True
        try:
            answer = getattr(super(), name)(*args, **options)
        except FileNotFoundError:
            if not fails or kind != "after":
                raise
        finally:
            cls._inside.call = False
        if fails and kind == "after":
            raise cls.error("the answer was lost")
        return answer

    def info(self, path: str, **options: Any) -> Any:
        return self._faulty("info", path, **options)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> Any:
        return self._faulty("pipe_file", path, value, mode=mode, **options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> Any:
        return self._faulty("cat_file", path, start, end, **options)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> Any:
        with open(lpath, "rb") as file:  # noqa: PTH123
            data = file.read()
        return self._faulty("pipe_file", rpath, data)

    def get_file(self, rpath: str, lpath: str, **options: Any) -> Any:
        data = self._faulty("cat_file", rpath)
        with open(lpath, "wb") as file:  # noqa: PTH123
            file.write(data)

    def rm_file(self, path: str) -> Any:
        return self._faulty("rm_file", path)

    def find(self, path: str, **options: Any) -> Any:
        return self._faulty("find", path, **options)


fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
