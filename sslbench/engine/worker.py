"""What runs on a machine of the cluster: one case, or one trial of a case's grid, from names to an answer that can travel."""

from __future__ import annotations

import platform
import sys
import time
import traceback
import unittest
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy.typing as npt

from sslbench.config import Settings
from sslbench.errors import CacheWarning, EngineError, NotInstalledError, RecordError, SslbenchError, UnknownNameError
from sslbench.results.record import Record
from sslbench.results.runs import Run, describe_samples, pack_samples
from sslbench.tasks import Task

if TYPE_CHECKING:
    from sslbench.runner import Runner


class Project(Protocol):
    """What the names of a user's project need on a worker."""

    def set_up(self) -> None:
        """Make them known in this process, once. Raises EngineError."""


class MachineCheck(Protocol):
    """What controller and worker have to have in common; `sslbench.engine.machine_check` has the one that looks."""

    def problems(self) -> list[str]:
        """What this machine has otherwise; empty where it will do."""


@dataclass(frozen=True)
class Order:
    """One case to be run, as it travels.

    run: the folder of the run where the worker has the same one; None where records travel by value alone. rerun: which records
    that are there do not count, as of `sslbench.runner.resumed_record`. trial: the key of the one trial to run instead of the
    case. hand_over: whether a grid is left to others (`Answer.trials`). threads: of torch at most; 0 for as many as there are.
    """

    backbone: str
    task: Task
    settings: Settings
    run: Path | None = None
    rerun: str = "missing"
    trial: str = ""
    hand_over: bool = False
    threads: int = 0
    project: Project | None = None
    machine_check: MachineCheck | None = None


@dataclass(frozen=True)
class Failure:
    """Why there is no record.

    kind: `unfit` for what would stop every case on that machine, `not-installed` for a backbone whose package is missing, `skip`
    where the user's code asked for that, `case` for all else. error: the exception's class; message: as a line; text: the
    traceback.
    """

    kind: Literal["unfit", "not-installed", "skip", "case"]
    error: str
    message: str
    text: str = ""


@dataclass(frozen=True)
class Answer:
    """What came of an order: a record, trials that others are to run first, a failure, or none of these for a finished trial.

    samples: the file of the record's samples, None where the worker has written it into the run's folder. resumed: whether the
    record was there already. warnings: class and text. seconds: that the order took.
    """

    record: Mapping[str, Any] | None = None
    samples: bytes | None = None
    resumed: bool = False
    trials: tuple[str, ...] = ()
    failure: Failure | None = None
    warnings: tuple[tuple[type[Warning], str], ...] = ()
    host: str = ""
    seconds: float = 0.0


def run(order: Order) -> Answer:
    """Run an order. What goes wrong is a `Failure`; nothing is raised but what ends the process."""
    return _answered(order, lambda: _run(order))


def probe(order: Order) -> Answer:
    """Only look whether this machine can run orders of this session."""
    return _answered(order, Answer)


class _UnfitError(EngineError):
    pass


def _answered(order: Order, work: Any) -> Answer:
    begun = time.monotonic()
    with _kept_warnings() as kept:
        try:
            _prepare(order)
            answer: Answer = work()
        except BaseException as error:
            if not isinstance(error, (Exception, SystemExit, *_outcomes("skip"), *_outcomes("fail"))):
                raise
            answer = Answer(failure=_failure(error))
    told = tuple((category, text) for category, text in dict.fromkeys(kept))
    return Answer(
        answer.record, answer.samples, answer.resumed, answer.trials, answer.failure, told, platform.node(),
        time.monotonic() - begun,
    )  # fmt: skip


def _outcomes(name: str) -> tuple[type[BaseException], ...]:
    """What `pytest.NAME()` raises, which is no Exception; nothing where nobody has imported pytest."""
    pytest = sys.modules.get("pytest")
    return (getattr(pytest, name).Exception,) if pytest is not None else ()


@contextmanager
def _kept_warnings() -> Iterator[list[tuple[type[Warning], str]]]:
    kept: list[tuple[type[Warning], str]] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            yield kept
        finally:
            # Of another class than Python's own the controller need not know the module.
            kept += [(_travelling(warning.category), str(warning.message)) for warning in caught]


def _travelling(category: type[Warning]) -> type[Warning]:
    known = category.__module__.partition(".")[0] in ("builtins", "sslbench")
    return category if known else next(base for base in category.__mro__ if base.__module__ == "builtins")


def _prepare(order: Order) -> None:
    try:
        if order.project is not None:
            order.project.set_up()
        problems = order.machine_check.problems() if order.machine_check is not None else []
    except EngineError as error:
        raise _UnfitError(str(error)) from error
    if problems:
        raise _UnfitError("\n".join(problems))


def _failure(error: BaseException) -> Failure:
    text = "".join(traceback.format_exception(error))
    message = str(error)
    if isinstance(error, _UnfitError):
        return Failure("unfit", "EngineError", message)
    if isinstance(error, NotInstalledError):
        return Failure("not-installed", "NotInstalledError", message)
    if isinstance(error, (unittest.SkipTest, *_outcomes("skip"))):
        return Failure("skip", type(error).__name__, message, text)
    if isinstance(error, UnknownNameError):
        message = (
            f"{message}. It is known where this session was started, but not on {platform.node()}: register it where "
            "conftest.py is imported, not in a hook or a test module"
        )
    if isinstance(error, SystemExit):
        message = f"sys.exit({error.code!r}) was called"
    if isinstance(error, SslbenchError):
        return Failure("case", type(error).__name__, message, text)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return Failure("case", type(error).__name__, f"{' '.join(message.split())} ({frame.filename}:{frame.lineno})", text)


@dataclass(frozen=True)
class _Carried(Run):
    """A run whose last record and samples are in memory, to travel; written to its folder too where that is shared.

    A disk that is full there loses nothing then: it is told, and the controller writes what it gets.
    """

    shared: bool = False
    kept: dict[str, Any] = field(default_factory=dict)

    def read(self, case: str) -> Record | None:
        return super().read(case) if self.shared else None

    def write_samples(self, case: str, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, str]:
        content = pack_samples(arrays)
        self.kept["samples"] = content
        if self.shared:
            self._try(lambda: self.put_samples(case, content))
        return describe_samples(case, content)

    def write(self, record: Record) -> Path:
        self.kept["record"] = record.to_json()
        if self.shared and "full" not in self.kept:
            self._try(lambda: self.put_record(record.case, self.kept["record"]))
        return self.record_path(record.case)

    def _try(self, write: Any) -> None:
        try:
            write()
        except RecordError as error:
            self.kept["full"] = True
            warnings.warn(f"{error} (on {platform.node()}; the record travels instead)", CacheWarning, stacklevel=2)


# One a process, which keeps backbones and features of one order for the next.
_runners: list[Runner] = []


def forget() -> None:
    """Let go of what this process keeps for the next order."""
    _runners.clear()


def _runner(order: Order) -> Runner:
    import torch

    from sslbench.runner import Runner

    if order.threads and torch.get_num_threads() > order.threads:
        torch.set_num_threads(order.threads)
    run = _Carried(order.run or Path("nowhere"), shared=order.run is not None)
    if not _runners or _runners[0].settings != order.settings:
        _runners[:] = [Runner(order.settings, run)]
    _runners[0].run = run
    return _runners[0]


def _run(order: Order) -> Answer:
    from sslbench.runner import Case, resumed_record
    from sslbench.training.trials import HandedOverError

    runner = _runner(order)
    case = runner.prepare(Case(order.backbone, order.task))
    if order.trial:
        case.train(order.trial)
        return Answer()
    if (record := resumed_record(case, order.rerun)) is not None:
        return Answer(record.to_json(), resumed=True)
    try:
        case.execute(hand_over=order.hand_over)
    except HandedOverError as handed:
        return Answer(trials=handed.keys)
    assert isinstance(runner.run, _Carried)
    kept = runner.run.kept
    written = runner.run.shared and "full" not in kept
    return Answer(kept["record"], None if written else kept["samples"])
