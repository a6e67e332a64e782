"""What the plugin keeps for one pytest session."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import pytest

from sslbench.backbones import expand_backbones, list_backbones
from sslbench.datasets import list_datasets
from sslbench.errors import UnknownNameError
from sslbench.names import matches
from sslbench.plugin.options import PluginOptions, read_options
from sslbench.protocols import list_protocols
from sslbench.tasks import CHOSEN, Suite, expand_tasks, list_suites, suite, within_suite

if TYPE_CHECKING:
    from sslbench.results.record import Record
    from sslbench.results.runs import Run
    from sslbench.runner import Runner
    from sslbench.tasks import Task

Named = TypeVar("Named")


@dataclass(frozen=True)
class Matrix:
    """The backbones and tasks that the options name, as far as they are known."""

    suite: Suite | None
    backbones: list[str]
    tasks: list[Task]

    def cases(self, protocol: str) -> list[tuple[str, Task]]:
        """(backbone, task) pairs of the protocols that the glob names."""
        chosen = [task for task in self.tasks if matches(task.protocol, protocol)]
        return [(backbone, task) for backbone in self.backbones for task in chosen]


@dataclass
class SessionState:
    """Options, the matrix of cases, and the records that came in.

    problems: what is wrong with tests that ask for cases, told before anything runs.
    """

    config: pytest.Config
    records: dict[str, Record] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    summary: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _unknown: dict[str, UnknownNameError] = field(default_factory=dict)
    _found: set[str] = field(default_factory=set)
    _registered: tuple[str, ...] = ()
    _matrix: Matrix | None = None

    @cached_property
    def options(self) -> PluginOptions:
        """Read when the first test asks for cases: no other session can fail by them.

        Raises pytest.UsageError for a value that cannot be used.
        """
        return read_options(self.config)

    @property
    def matrix(self) -> Matrix:
        """What the names mean now: a conftest.py that is loaded later may register more of them.

        Raises pytest.UsageError and SslbenchError, but none for an unknown name (see `unknown_names`).
        """
        registered = (*list_suites(), *list_backbones(), *list_datasets(), *list_protocols())
        if self._matrix is None or registered != self._registered:
            self._registered, self._matrix = registered, self._expand()
        return self._matrix

    def _expand(self) -> Matrix:
        options = self.options
        found = self._known([options.suite], lambda names: [suite(name) for name in names])
        if not found:
            return Matrix(None, [], [])
        tasks = self._known(
            options.tasks or ["*"], lambda patterns: expand_tasks(patterns if options.tasks else None, options.suite)
        )
        backbones = self._known(options.backbones or found[0].backbones, expand_backbones)
        return Matrix(found[0], list(dict.fromkeys(backbones)), sorted(set(tasks)))

    def _known(self, patterns: Iterable[str], expand: Callable[[list[str]], list[Named]]) -> list[Named]:
        found: list[Named] = []
        for pattern in patterns:
            try:
                found += expand([pattern])
                self._found.add(pattern)
            except UnknownNameError as error:
                self._unknown[pattern] = error
        return found

    def unknown_names(self) -> list[str]:
        """A message for each name and glob that meant nothing wherever a test asked for cases."""
        missed = {pattern: error for pattern, error in self._unknown.items() if pattern not in self._found}
        return [f"{error}{self._comma(pattern)}" for pattern, error in missed.items()]

    def _comma(self, pattern: str) -> str:
        for patterns in (self.options.tasks or (), self.options.backbones or ()):
            if "," in pattern and pattern in patterns:
                return ". In a list, and on lines of their own, each is one name: commas do not separate there"
            if any(before.partition(":")[1] and after == pattern for before, after in pairwise(patterns)):
                return r". A comma that belongs to the path before it is written \,"
        return ""

    @cached_property
    def run_name(self) -> str:
        """The suite's, if all tasks are its own. Under xdist the controller learns it from the workers, who know all names."""
        return self.options.suite if within_suite(self.options.tasks, self.options.suite) else CHOSEN

    @property
    def title(self) -> str:
        """What the results are of."""
        return f"sslbench {'chosen tasks' if self.run_name == CHOSEN else self.run_name}"

    @cached_property
    def run(self) -> Run:
        """Where this session's records go: results/SUITE or results/chosen."""
        from sslbench.results.runs import Run

        return Run(self.options.settings.results_dir / self.run_name)

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
