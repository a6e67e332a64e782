"""Timing on a device, and what a check leaves behind."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Bench:
    """Where and how long to measure.

    device: as torch names it. small: sizes that a CPU runs in seconds, to try the script. deadline: on the clock of
    `time.monotonic`; no further round begins after it.
    """

    device: str
    small: bool
    deadline: float

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.deadline

    def rounds(self, most: int = 5) -> Iterator[int]:
        """At least one round, and at most `most` while there is time."""
        for number in range(1 if self.small else most):
            if number and self.late:
                return
            yield number

    def synchronise(self) -> None:
        """Wait for the device: it answers calls before it has done them."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)

    def seconds(self, run: Callable[[], object]) -> float:
        """Wall time of a call until the device is done."""
        self.synchronise()
        start = time.perf_counter()
        run()
        self.synchronise()
        return time.perf_counter() - start

    def peak(self) -> int:
        """Bytes that tensors took on the device at most since `forget_peak`; 0 on a CPU, which does not count them."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.startswith("cuda") else 0

    def forget_peak(self) -> None:
        """Count anew, from what is there."""
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)


@dataclass(frozen=True)
class Row:
    """A quantity and its value in each round."""

    what: str
    unit: str
    values: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """With the median, the lowest and the highest value."""
        values = list(self.values)
        spread = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
        return {"what": self.what, "unit": self.unit, **spread, "values": values}


@dataclass(frozen=True)
class Bar:
    """An aim, `at most` or `at least` a number, and what was reached."""

    what: str
    unit: str
    aim: float
    reached: float
    at_most: bool

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.reached <= self.aim if self.at_most else self.reached >= self.aim

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        aim = f"at {'most' if self.at_most else 'least'} {self.aim:g}"
        return {"what": self.what, "unit": self.unit, "aim": aim, "reached": self.reached, "met": self.met}


@dataclass
class Found:
    """What a check found so far. faults: results that are wrong, by which the check has failed. left: what it left out.

    peak: bytes on the device, of what `memory` counted and of all before.
    """

    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    peak: int = 0

    def row(self, what: str, unit: str, values: Sequence[float]) -> float:
        """Add a row; returns its median."""
        self.rows.append(Row(what, unit, tuple(map(float, values))))
        return statistics.median(values)

    def ratio(self, what: str, over: Sequence[float], under: Sequence[float]) -> float:
        """Add the ratios of both in each round."""
        return self.row(what, "x", [a / b for a, b in zip(over, under, strict=True)])

    def bar(self, what: str, unit: str, reached: float, *, at_most: float | None = None, at_least: float = 0.0) -> None:
        """Add an aim. It is told, and fails nothing: another device has another speed."""
        aim = at_least if at_most is None else at_most
        self.bars.append(Bar(what, unit, aim, reached, at_most is not None))

    def expect(self, right: bool, otherwise: str) -> None:
        """Note a wrong result and go on: the timings beside it are worth having."""
        if not right:
            self.faults.append(otherwise)

    def memory(self, what: str, bench: Bench, run: Callable[[], object]) -> None:
        """Run something once, and add the row of its peak memory where there is a device that counts it."""
        self.peak = max(self.peak, bench.peak())
        bench.forget_peak()
        run()
        bench.synchronise()
        if peak := bench.peak():
            self.row(what, "GiB", [peak / 2**30])
            self.peak = max(self.peak, peak)

    def goes_on(self, bench: Bench, part: str) -> bool:
        """Whether there is time for a further part; if not it is told that it was left out."""
        if bench.late:
            self.left.append(f"{part} left out: the time was over")
        return not bench.late
