"""The cases of a session: what the names in its options mean.

Apart from the session's state because knowing every name takes half a second, which only sessions with cases are to pay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from sslbench.backbones import expand_backbones, list_backbones
from sslbench.datasets import list_datasets
from sslbench.errors import UnknownNameError
from sslbench.names import matches
from sslbench.plugin.options import PluginOptions
from sslbench.protocols import list_protocols
from sslbench.tasks import Suite, Task, expand_tasks, list_suites, suite

Named = TypeVar("Named")


@dataclass(frozen=True)
class Matrix:
    """The backbones and tasks that the options name, as far as they are known.

    named: whether options name both, so that the suite's own limits do not hold.
    """

    suite: Suite | None
    backbones: list[str]
    tasks: list[Task]
    named: bool = False

    def cases(self, protocol: str) -> list[tuple[str, Task]]:
        """(backbone, task) pairs of the protocols that the glob names."""
        chosen = [task for task in self.tasks if matches(task.protocol, protocol)]
        pairs = [(backbone, task) for backbone in self.backbones for task in chosen]
        return [pair for pair in pairs if self.named or self.suite is None or self.suite.has(*pair)]


@dataclass
class Names:
    """The names in the options, looked up whenever a test asks for cases."""

    options: PluginOptions
    _unknown: dict[str, UnknownNameError] = field(default_factory=dict)
    _found: set[str] = field(default_factory=set)
    _registered: tuple[str, ...] = ()
    _matrix: Matrix | None = None

    @property
    def matrix(self) -> Matrix:
        """What the names mean now: a conftest.py that is loaded later may register more of them.

        Raises pytest.SslbenchError, but none for an unknown name (see `unknown`).
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
        return Matrix(
            found[0],
            list(dict.fromkeys(backbones)),
            sorted(set(tasks)),
            named=bool(options.backbones and options.tasks),
        )

    def _known(self, patterns: Iterable[str], expand: Callable[[list[str]], list[Named]]) -> list[Named]:
        found: list[Named] = []
        for pattern in patterns:
            try:
                found += expand([pattern])
                self._found.add(pattern)
            except UnknownNameError as error:
                self._unknown[pattern] = error
        return found

    def unknown(self) -> list[str]:
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
