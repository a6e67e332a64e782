"""`--sslbench-shard K/N`: of the cases that a session has collected and chosen, those of one part stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from sslbench.plugin import before, claims
from sslbench.plugin.state import STATE

if TYPE_CHECKING:
    from sslbench.tasks import Task

_OUTPUT = "sslbench_shard"
# Each of these chooses by what happened on this machine, so that the machines would not divide the same cases.
_LOCAL = {"lf": "--last-failed", "stepwise": "--stepwise"}


class Sharding:
    """case_of: gives the case that a test is of, None for other tests, which all shards run."""

    def __init__(self, case_of: Callable[[pytest.Item], tuple[str, Task] | None]) -> None:
        self._case_of = case_of
        self._line = ""
        self._empty = False

    # Last, so that all sessions divide what -k, -m and other plugins have left.
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out the cases of other shards."""
        state = config.stash[STATE]
        cases = {item: case for item in items if (case := self._case_of(item)) is not None}
        about = any(claims.param_of(item) is not None for item in items)
        if state.problems or not (cases or about) or state.options.shard is None:
            return
        from sslbench.engine.sharding import shards

        shard = state.options.shard
        if problems := _problems(config, about=about):
            state.problems += problems
            before.tell(config, problems)
            return
        numbers = shards(cases.values(), shard.count)
        others = [item for item, case in cases.items() if numbers[case] != shard.number]
        kept = {case for case, number in numbers.items() if number == shard.number}
        self._line = f"shard {shard}: {len(kept):,} of {len(numbers):,} cases"
        self._empty = not kept
        if others:
            config.hook.pytest_deselected(items=others)
            out = set(others)
            items[:] = [item for item in items if item not in out]

    def pytest_report_collectionfinish(self) -> list[str]:
        """Tell the shard before the first case."""
        return [self._line] if self._line else []

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Under xdist, take over what a worker collected."""
        self._line, self._empty = (getattr(node, "workeroutput", None) or {}).get(_OUTPUT, (self._line, self._empty))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A shard to which no case fell has nothing to fail by: pytest's status 5 would stop a night of many jobs."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None and self._line:
            output[_OUTPUT] = (self._line, self._empty)
        if self._empty and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Tell the shard where the workers collected, and at the end of a long log."""
        if self._line and not config.option.collectonly:
            terminalreporter.write_line(self._line + ("; it has nothing to run, which is no failure" * self._empty))


def _problems(config: pytest.Config, *, about: bool) -> list[str]:
    found = [
        f"--sslbench-shard and {flag}: that chooses by what this machine ran before, and all shards have to divide the same "
        "cases; leave it out, cases that have a record are not run again"
        for name, flag in _LOCAL.items()
        if config.getoption(name, False)
    ]
    if about:
        found.append(
            "--sslbench-shard: claims are put to all cases, and a shard has a part of them; run `sslbench merge DIR... --into "
            "RUN` on the shards' results, then `sslbench claims RUN`"
        )
    return found
