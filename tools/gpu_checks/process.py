"""Another process on a device, which does one thing after the other. It imports nothing besides until it is asked to."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from gpu_checks.bench import Bench

FRACTION = 0.5


class Process:
    """Another process with a share of the device's memory, which does one thing after the other."""

    def __init__(self, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # As a daemon: it does not outlive a check that is broken off.
        self._process = context.Process(target=_serve, args=(theirs, device), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, function: Callable[[], Any]) -> None:
        """Begin a piece of work."""
        self._pipe.send(function)

    def answer(self) -> Any:
        """What became of it, its seconds, and the peak of the process's memory on the device. Raises what it raised."""
        try:
            found, seconds, peak = self._pipe.recv()
        except EOFError as error:
            self._process.join(10)
            raise RuntimeError(f"the process ended with status {self._process.exitcode}") from error
        if isinstance(found, BaseException):
            raise found
        return found, seconds, peak

    def end(self) -> None:
        """At once."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, device: str) -> None:
    bench = Bench(device, small=False, deadline=0.0)
    # Both alone and side by side, so that the device is all that they share.
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    if device.startswith("cuda"):
        torch.cuda.set_per_process_memory_fraction(FRACTION, device)
    while True:
        try:
            work = pipe.recv()
        except EOFError:
            return
        bench.forget_peak()
        start = time.perf_counter()
        try:
            found = work()
            bench.synchronise()
        except Exception as error:  # noqa: BLE001  it is raised where it was asked for
            found = error
        pipe.send((found, time.perf_counter() - start, bench.peak()))
