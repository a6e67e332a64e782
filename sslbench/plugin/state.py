"""What the plugin keeps for one pytest session."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from sslbench.errors import SslbenchError
from sslbench.plugin.options import PluginOptions, read_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sslbench.analyses.evidence import SheetEvidence
    from sslbench.plugin.engines import EngineSession
    from sslbench.plugin.matrix import Names
    from sslbench.results.record import Record
    from sslbench.results.runs import Run
    from sslbench.runner import Runner
    from sslbench.tasks import Task


@dataclass
class SessionState:
    """Options, the matrix of cases, and the records that came in.

    problems: what is wrong with tests that ask for cases, told before anything runs. lost: why no case can be run any more.
    """

    config: pytest.Config
    records: dict[str, Record] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    summary: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lost: str = ""

    @cached_property
    def options(self) -> PluginOptions:
        """Read when the first test asks for cases: no other session can fail by them.

        Raises pytest.UsageError for a value that cannot be used.
        """
        return read_options(self.config)

    @cached_property
    def names(self) -> Names:
        """What the options' names mean. Raises pytest.UsageError for options that cannot be used."""
        from sslbench.plugin.matrix import Names

        return Names(self.options)

    def unknown_names(self) -> list[str]:
        """A message for each name that meant nothing; none where the options cannot be used, which is told anyway."""
        with contextlib.suppress(pytest.UsageError):
            return self.names.unknown()
        return []

    @cached_property
    def run_name(self) -> str:
        """The suite's, if all tasks are its own. Under xdist the controller learns it from the workers, who know all names."""
        from sslbench.tasks import CHOSEN, within_suite

        return self.options.suite if within_suite(self.options.tasks, self.options.suite) else CHOSEN

    @property
    def title(self) -> str:
        """What the results are of."""
        from sslbench.tasks import CHOSEN

        return f"sslbench {'chosen tasks' if self.run_name == CHOSEN else self.run_name}"

    @cached_property
    def run(self) -> Run:
        """Where this session's records go: results/SUITE or results/chosen; a `SharedRun` where results have a URL."""
        from sslbench.results.shared_run import run_at

        settings = self.options.settings
        return run_at(settings.results_dir / self.run_name, settings.shared_results)

    @cached_property
    def evidence(self) -> SheetEvidence:
        """The scores that claims are put to. Raises RecordError where there are none, StoreError where a URL's cannot be read."""
        from sslbench.analyses.evidence import SheetEvidence, sheet_of
        from sslbench.analyses.sheet import sheet_of_records
        from sslbench.errors import RecordError
        from sslbench.results.shared_run import SharedRun

        of = self.options.claims
        if of == "run" and isinstance(self.run, SharedRun):
            self.summary += self.run.begin()
        if of != "run":
            sheet = sheet_of(of, self.options.settings.results_dir)
        elif records := self.run.records():
            sheet = sheet_of_records(records, str(self.run.directory))
        else:
            raise RecordError(
                f"claims are put to records, and {self.run.directory} holds none: run its cases first, or name a run, a baseline "
                "or a study with --sslbench-claims, such as --sslbench-claims=ericsson2021"
            )
        return SheetEvidence(sheet)

    @cached_property
    def runner(self) -> Runner:
        """The runner, made when the first case runs."""
        from sslbench.runner import Runner

        self.run.check_writable()
        runner = Runner(self.options.settings, self.run)
        runner.store.cache.check_writable()
        return runner

    engine: EngineSession | None = None

    def start_engine(self, cases: Sequence[tuple[str, Task]]) -> list[str]:
        """Hand all cases to the engine that the options name; what cannot be is told before any is submitted."""
        from sslbench.plugin.engines import EngineSession

        try:
            self.engine = EngineSession(self, cases)
        except SslbenchError as error:
            return [str(error)]
        return []

    def close_engine(self) -> None:
        """Stop what runs elsewhere."""
        if self.engine is not None:
            self.engine.close()


STATE = pytest.StashKey[SessionState]()
CASE_RECORD = pytest.StashKey["Record"]()
