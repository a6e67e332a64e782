"""A study: a published evaluation as data. What it ran, its choices, its figures; nothing here computes."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

from sslbench.errors import RecordError, SslbenchError
from sslbench.names import matches
from sslbench.studies.claim import Claim

AVERAGE = "avg"


class _Task(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def markers(self) -> list[str]: ...


@dataclass(frozen=True)
class Suite:
    """A named list of task globs and the backbones that run when none is named.

    slow: globs of `BACKBONE|TASK`, the cases that a quick run leaves out (`-m "not slow"`).
    limited: globs of tasks that only some backbones have, with globs of these; who names tasks and backbones has any.
    """

    name: str
    tasks: Sequence[str]
    backbones: Sequence[str]
    summary: str
    slow: Sequence[str] = ()
    limited: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def has(self, backbone: str, task: _Task) -> bool:
        """Whether a backbone has a task, where not both were named."""
        limits = [backbones for tasks, backbones in self.limited.items() if matches(task.id, tasks)]
        return all(any(matches(backbone, glob) for glob in backbones) for backbones in limits)

    def markers(self, backbone: str, task: _Task) -> list[str]:
        """pytest markers of one case: the task's, and `slow` where this suite says so."""
        slow = any(matches(f"{backbone}|{task.id}", glob) for glob in self.slow)
        return sorted({*task.markers, *(["slow"] if slow else [])})


@dataclass(frozen=True)
class Switch:
    """A choice on which paper, official code and good practice differ.

    choices: the first is the default. published: those that the published figures may be held against, by default the
    default alone, which is then what these figures most likely rest on.

    protocols: the ones it concerns; empty stands for all. scope: the datasets it concerns, `all`, the `study`'s own, or
    those that have it in their declaration (`declared`).
    """

    choices: tuple[str, ...]
    summary: str
    protocols: tuple[str, ...] = ()
    scope: Literal["all", "study", "declared"] = "declared"
    published: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.choices:
            raise SslbenchError(f"a switch needs choices, the default first: {self.summary}")

    @property
    def default(self) -> str:
        """The choice when none is made."""
        return self.choices[0]

    def comparable(self, choice: str) -> bool:
        """Whether published figures may be held against a score with this choice."""
        return choice in (self.published or self.choices[:1])


@dataclass(frozen=True)
class Geometry:
    """What a network is shown: the arguments of `sslbench.backbones.preprocessing.Preprocessing`."""

    input_size: tuple[int, int]
    resize: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Column:
    """What the figures of one column of a published table are of.

    task: its id. score: the name that the task's records give it; empty for their main score. unit, higher_is_better: of the
    score here. factor: what a figure is multiplied by to be in that unit. mean_of: ids of the tasks over which a figure is the
    mean of that score; `task` is empty then, and no single record has the figure for a reference. main: whether a named score is
    the task's main one.
    """

    task: str
    score: str = ""
    unit: str = "%"
    higher_is_better: bool = True
    factor: float = 1.0
    mean_of: tuple[str, ...] = ()
    main: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """The ids of all tasks that a figure is of."""
        return self.mean_of or (self.task,)


@dataclass(frozen=True)
class Allowance:
    """What a figure is allowed beside its sampling error, in the score's unit, and why."""

    size: float
    why: str


@dataclass(frozen=True)
class Table:
    """One published table: a row a network.

    path: the CSV, whose first column is `model`. title: what it is in the paper. columns: what a task of this package has a
    figure in, by the CSV's own names, in its order. allowance: None where no verdict rests on the figures, for the reason
    `no_verdict`. average: whether the table has an average over its columns. beside: tables of the same shape with what the
    authors chose for each figure, by the name of the hyperparameter.
    """

    path: Path
    title: str
    columns: Mapping[str, Column]
    allowance: Allowance | None
    no_verdict: str = ""
    average: bool = False
    beside: Mapping[str, Path] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """Its name."""
        return self.path.stem

    def check(self) -> None:
        """Raise RecordError for a file that is not as declared: columns, networks that stand twice, cells that are no numbers."""
        try:
            rows = list(csv.reader(self.path.read_text(encoding="utf-8").splitlines()))
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(f"the table {self.path} cannot be read: {error}") from error
        heads, names = rows[0] if rows else [], [row[0] for row in rows[1:] if row]
        if not heads or heads[0] != "model" or not self.columns.keys() <= set(heads):
            raise RecordError(
                f"{self.path}: expected a first column `model` and columns {', '.join(self.columns)}, separated by commas, "
                f"got {', '.join(heads) or 'nothing'}"
            )
        if not names or (twice := [name for name in names if names.count(name) > 1]):
            raise RecordError(
                f"{self.path}: expected one row a network, got {twice[0] + ' twice' if names else 'none'}"
            )
        for row in rows[1:]:
            if len(row) != len(heads):
                raise RecordError(
                    f"{self.path}, {row[0] if row else 'an empty row'}: expected {len(heads)} cells, got {len(row)}"
                )
        for network in names:
            for column in self.columns:
                if (found := self.figure(network, column)) is None or not math.isfinite(found.value):
                    raise RecordError(f"{self.path}, {network}, {column}: expected a finite number")
                self.chosen(network, column)

    def networks(self) -> tuple[str, ...]:
        """Its rows."""
        return tuple(read_table(self.path))

    def figure(self, network: str, column: str) -> Figure | None:
        """The number of one cell in the unit of its column, or None where the table has no such cell."""
        text = read_table(self.path).get(network, {}).get(column)
        if text is None:
            return None
        value, _, half_width = text.partition("±")
        # An average is in the unit that all columns share.
        factor = self.columns[column].factor if column in self.columns else 1.0
        try:
            stderr = factor * float(half_width) / _Z95 if half_width else None
            return Figure(factor * float(value), stderr)
        except ValueError as error:
            raise RecordError(f"{self.path.name}, {network}, {column}: expected a number, got {text!r}") from error

    def chosen(self, network: str, column: str) -> dict[str, float]:
        """The hyperparameters that the authors list for a figure, by name."""
        listed = {name: read_table(path).get(network, {}).get(column) for name, path in self.beside.items()}
        try:
            return {name: float(text) for name, text in listed.items() if text is not None}
        except ValueError as error:
            raise RecordError(f"what was chosen for {network}, {column} of {self.path.name}: {error}") from error


# The half-widths of the published intervals are 1.96 standard errors.
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Figure:
    """One published number; stderr is None where the paper prints no interval."""

    value: float
    stderr: float | None


@lru_cache(maxsize=64)
def read_table(path: Path) -> Mapping[str, Mapping[str, str]]:
    """A table as written: network -> column -> text."""
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return {row.pop("model"): row for row in rows}


@dataclass(frozen=True)
class Upstream:
    """Where a study prints each network's score on the pictures that it was pretrained on.

    name: of the score, such as `ImageNet top-1`; in %. path, column: of a CSV whose first column is `model`.
    """

    name: str
    path: Path
    column: str


@dataclass(frozen=True)
class Study:
    """A published evaluation.

    name: short, such as `ericsson2021`. citation: how a figure's source is told. networks: what it compared, in its order, by the
    names of backbones here. datasets: the ones that its switches of scope `study` concern. suites, switches, presets: by name.
    tables: in the paper's order. upstream: None where it prints no such scores. claims: its findings, each as a test.
    """

    name: str
    citation: str
    networks: Sequence[str]
    datasets: Sequence[str]
    suites: Sequence[Suite] = ()
    switches: Mapping[str, Switch] = field(default_factory=dict)
    presets: Mapping[str, Geometry] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    upstream: Upstream | None = None
    claims: Sequence[Claim] = ()

    def upstream_score(self, network: str) -> float | None:
        """A network's score on its own pictures in %, or None where the study prints none."""
        if self.upstream is None:
            return None
        text = read_table(self.upstream.path).get(network, {}).get(self.upstream.column)
        return None if text is None else float(text)

    def source(self, table: Table) -> str:
        """Where a figure stands."""
        here = Path(__file__).parents[2]
        path = table.path.relative_to(here).as_posix() if table.path.is_relative_to(here) else table.path.name
        return f"{self.citation}, {table.title} ({path})"
