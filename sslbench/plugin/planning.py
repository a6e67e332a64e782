"""`--sslbench-plan N`: what the cases of a session would take, with all that its conftest.py registers; nothing runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from sslbench.errors import SettingsError, SslbenchError
from sslbench.names import printable
from sslbench.plugin.state import STATE, SessionState

if TYPE_CHECKING:
    from sslbench.tasks import Task

FLAG = "--sslbench-plan"


def add_option(parser: pytest.Parser) -> None:
    """Declare the option, on the command line alone: with a twin in the ini file no session would run anything."""
    parser.getgroup("sslbench").addoption(
        FLAG,
        metavar="N[xDEVICE]",
        help="tell what the collected cases would take on so many GPUs, such as 8xh100 or 2xcpu, and run nothing",
    )


class Planning:
    """Plans instead of running tests. case_of: gives the case that a test is of, None for other tests."""

    def __init__(self, config: pytest.Config, case_of: Callable[[pytest.Item], tuple[str, Task] | None]) -> None:
        try:
            self._count, self._device = _devices(str(config.getoption(FLAG)))
        except SslbenchError as error:
            raise pytest.UsageError(str(error)) from error
        self._case_of = case_of
        self._lines: list[str] = []
        # As under --collect-only: what is collected here is not collected by pytest-xdist's workers once more.
        config.option.dist = "no"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Plan what was collected; pytest itself ends a session whose collection failed."""
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            return None
        cases = [case for case in map(self._case_of, session.items) if case is not None]
        # A shard may well be without any, which is no failure.
        if session.items and not cases and session.config.stash[STATE].options.shard is None:
            raise pytest.UsageError(
                f"{FLAG}: none of the collected tests asks for a case, so that there is nothing to plan"
            )
        if cases:
            try:
                self._lines = self._planned(cases, session.config.stash[STATE])
            except SslbenchError as error:
                raise pytest.UsageError(str(error)) from error
        return True

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the plan."""
        for line in self._lines:
            terminalreporter.write_line(printable(line))

    def _planned(self, cases: list[tuple[str, Task]], state: SessionState) -> list[str]:
        from sslbench.engine.costs.devices import device_for
        from sslbench.engine.plan import make_plan
        from sslbench.engine.plan_text import plan_lines
        from sslbench.results.references import read_records

        options = state.options
        device, why = device_for(self._device or ("cpu" if options.settings.device == "cpu" else None))
        records = read_records(options.baseline) if options.baseline is not None else []
        plan = make_plan(state.run, cases, options.settings, device, self._count, records=records, rerun=options.rerun)
        lines = plan_lines(plan, why)
        if options.engine:
            lines += [
                "",
                f"The engine {options.engine} was not asked: its machines and --sslbench-engine-options are not in this plan, "
                f"which takes what {FLAG} names and a case's default share of a GPU.",
            ]
        return lines


def _devices(text: str) -> tuple[int, str]:
    """How many, and of what; raises SettingsError, and UnknownNameError for a device that is none."""
    from sslbench.engine.costs.devices import device_of

    match = re.fullmatch(r"([1-9]\d*)(?:x(.+))?", text.strip(), flags=re.ASCII)
    if match is None:
        raise SettingsError(
            f"{FLAG} takes N[xDEVICE], a number of GPUs from 1 and what they are, such as 8, 8xh100 or 2xcpu; got {text!r}"
        )
    if match[2]:
        device_of(match[2])
    return int(match[1]), match[2] or ""
