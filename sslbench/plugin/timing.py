"""How a case is timed: by pytest-benchmark where it is there, else not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sslbench.results.record import Record

GROUP = "sslbench "

# Runs the function, or hands on what it gives without timing it; the protocol names pytest-benchmark's group.
Timer = Callable[..., "Record"]


def without_cases(benchmarks: Sequence[Any]) -> list[Any]:
    """Those of a group of pytest-benchmark's table that are no cases."""
    return [benchmark for benchmark in benchmarks if not str(benchmark["group"]).startswith(GROUP)]


def add_timer(config: pytest.Config) -> None:
    """Register the fixture `sslbench_timer` that suits the session.

    It asks for `benchmark` by name where there is such a fixture, which is how --benchmark-only and --benchmark-skip tell what
    is a benchmark. Under xdist pytest-benchmark times nothing, and warns of that wherever its fixture is asked for.
    """
    there = any(map(config.pluginmanager.hasplugin, ("benchmark", "pytest_benchmark.plugin")))
    there = there and (not hasattr(config, "workerinput") or config.getoption("benchmark_skip", False))
    config.pluginmanager.register(_Timed() if there else _Untimed(), "sslbench-timer")


class _Timed:
    @pytest.fixture
    def sslbench_timer(self, benchmark: Any) -> Timer:
        """One round, with the scores in `extra_info`."""

        def run(function: Callable[[], Record], protocol: str, *, timed: bool) -> Record:
            if not timed:
                # What was read from a file has no time to show, and an unused fixture is warned of.
                benchmark.disabled = True
            benchmark.group = f"{GROUP}{protocol}"
            record: Record = benchmark.pedantic(function, rounds=1, iterations=1)
            benchmark.extra_info.update({name: score["value"] for name, score in record.scores.items()})
            return record

        return run


class _Untimed:
    @pytest.fixture
    def sslbench_timer(self) -> Timer:
        """Nothing but the call."""

        def run(function: Callable[[], Record], protocol: str, *, timed: bool) -> Record:
            return function()

        return run
