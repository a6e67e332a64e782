"""Batches from threads: in order, bounded, and ended by the first error."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from sslbench.features.batches import AHEAD, batches
from sslbench.features.loading import Pixels


class Rows:
    """Each picture is filled with its row; `bad` rows are absent, `broken` ones raise."""

    def __init__(
        self, grain: int | None = 1, parallel: bool = True, bad: tuple[int, ...] = (), broken: tuple[int, ...] = ()
    ) -> None:
        self.grain, self.parallel, self.bad, self.broken = grain, parallel, bad, broken
        self.loaded: list[int] = []
        self.threads: set[int] = set()

    def load(self, start: int, stop: int, out: Pixels) -> list[bool]:
        self.threads.add(threading.get_ident())
        # The first rows take longest, so that order does not come by itself.
        time.sleep(0.002 if start < 3 else 0)
        for row in range(start, stop):
            if row in self.broken:
                raise ValueError(f"row {row}")
            out[row - start] = row
            self.loaded.append(row)
        return [row not in self.bad for row in range(start, stop)]


@pytest.mark.parametrize(("grain", "parallel"), [(1, True), (3, True), (None, False)])
def test_every_row_once_and_in_order(grain: int | None, parallel: bool) -> None:
    loader = Rows(grain, parallel, bad=(2, 9))
    got = list(batches(loader, 11, 4, (2, 2)))
    assert [(batch.start, batch.stop) for batch in got] == [(0, 4), (4, 8), (8, 11)]
    assert [batch.rows for batch in got] == [[0, 1, 3], [4, 5, 6, 7], [8, 10]]
    for batch in got:
        np.testing.assert_array_equal(batch.readable[:, 0, 0, 0].numpy(), batch.rows)
        assert batch.readable.shape[1:] == (2, 2, 3)
    assert sorted(loader.loaded) == list(range(11))
    assert threading.get_ident() not in loader.threads
    if not parallel:
        assert len(loader.threads) == 1


def test_no_more_than_a_few_batches_are_held() -> None:
    loader = Rows()
    running = batches(loader, 100, 4, (2, 2))
    for used in range(1, 4):
        next(running)
        time.sleep(0.05)
        assert len(loader.loaded) == 4 * (AHEAD + used)
    running.close()
    assert len(loader.loaded) == 4 * (AHEAD + 3)


def test_the_error_of_the_first_row_in_order_is_raised() -> None:
    running = batches(Rows(broken=(9, 6)), 100, 4, (2, 2))
    assert next(running).rows == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="row 6"):
        next(running)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sslbench-load")]


def test_a_consumer_that_stops_leaves_no_thread() -> None:
    running = batches(Rows(), 100, 4, (2, 2))
    next(running)
    running.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sslbench-load")]
