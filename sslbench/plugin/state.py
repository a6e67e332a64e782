"""What the plugin keeps for one pytest session."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from sslbench.backbones import expand_backbones
from sslbench.names import matches
from sslbench.plugin.options import PluginOptions
from sslbench.tasks import expand_tasks, suite

if TYPE_CHECKING:
    from sslbench.results.record import Record
    from sslbench.results.runs import Run
    from sslbench.runner import Runner
    from sslbench.tasks import Task


@dataclass
class SessionState:
    """Options, the matrix of cases, and the records that came in."""

    options: PluginOptions
    records: dict[str, Record] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    summary: list[str] = field(default_factory=list)

    @cached_property
    def backbones(self) -> list[str]:
        """The backbones of this session. UnknownNameError for a name or glob without a match."""
        return expand_backbones(self.options.backbones or suite(self.options.suite).backbones)

    @cached_property
    def tasks(self) -> list[Task]:
        """The tasks of this session. UnknownNameError for a name or glob without a match."""
        suite(self.options.suite)
        return expand_tasks(self.options.tasks, self.options.suite)

    def cases(self, protocol: str) -> list[tuple[str, Task]]:
        """(backbone, task) pairs of the protocols that the glob names."""
        chosen = [task for task in self.tasks if matches(task.protocol, protocol)]
        return [(backbone, task) for backbone in self.backbones for task in chosen]

    @cached_property
    def run(self) -> Run:
        """Where this session's records go: results/SUITE."""
        from sslbench.results.runs import Run

        return Run(self.options.settings.results_dir / self.options.suite)

    @cached_property
    def runner(self) -> Runner:
        """The runner, made when the first case runs."""
        from sslbench.runner import Runner

        self.run.check_writable()
        runner = Runner(self.options.settings, self.run)
        runner.store.cache.check_writable()
        return runner


STATE = pytest.StashKey[SessionState]()
CASE_RECORD = pytest.StashKey["Record"]()
