"""Arrays that a thread reads before they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


class ReadAhead:
    """Arrays by number, kept once they were read as far as they fit.

    read: gives one; called in a thread of its own. most: bytes of the kept ones together.
    """

    def __init__(self, read: Callable[[int], Array], most: int) -> None:
        self._read, self._free = read, most
        self._kept: dict[int, Array] = {}
        self._coming: dict[int, Future[Array]] = {}
        # One: who reads a file or renders may not be made for several.
        self._pool: ThreadPoolExecutor | None = None

    def take(self, items: Sequence[int]) -> list[Array]:
        """One for each number. Raises what reading raises."""
        self.prefetch(items)
        # Taken out first: after an error in one of them none is held any longer.
        coming = {item: self._coming.pop(item) for item in dict.fromkeys(items) if item not in self._kept}
        read = {item: future.result() for item, future in coming.items()}
        for item, array in read.items():
            # None is thrown out for another: in shuffled passes each is as good to have.
            if array.nbytes <= self._free:
                self._kept[item] = array
                self._free -= array.nbytes
        return [read[item] if item in read else self._kept[item] for item in items]

    def prefetch(self, items: Sequence[int]) -> None:
        """Begin to read what is taken next, and forget what was to be."""
        for item in self._coming.keys() - set(items):
            self._coming.pop(item).cancel()
        for item in items:
            if item not in self._kept and item not in self._coming:
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(1, thread_name_prefix="targets")
                self._coming[item] = self._pool.submit(self._read, item)
