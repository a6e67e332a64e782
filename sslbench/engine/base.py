"""What an engine is: it takes jobs with their needs, and gives back how each ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from sslbench.registry import Registry, declared

_LOG_LINES = 20


@dataclass(frozen=True)
class Needs:
    """What a job takes of a machine while it runs.

    gpus: may be a fraction; so many jobs share one then. cpus: cores. memory: bytes, 0 where nothing is known.
    """

    gpus: float = 0.0
    cpus: float = 1.0
    memory: int = 0


@dataclass(frozen=True)
class Job:
    """Something to be run somewhere.

    name: unique among the jobs that have not ended; for people too. function: of a module, called with `argument`; both can be
    pickled. It answers with what can be pickled. near: the place (`Ended.place`) of a job whose files this one would like to find
    on the same machine; a wish. only: nowhere but there; the job is lost to its machine where that place is gone.
    """

    name: str
    function: Callable[[Any], Any]
    argument: Any
    needs: Needs = Needs()
    near: str = ""
    only: bool = False


@dataclass(frozen=True)
class Loss:
    """How a job ended that gave no answer.

    cause: `worker` where its process died, which may be the job's own doing; `machine` where the machine went, or was taken away;
    `unfit` where the machine is there and can run none of these jobs. why: for people (`killed by signal 9`). log: the end of
    what its process wrote, as far as there is any.
    """

    cause: Literal["worker", "machine", "unfit"]
    why: str
    log: str = ""

    @property
    def message(self) -> str:
        """Why, and the end of the log."""
        lines = self.log.strip().splitlines()[-_LOG_LINES:]
        end = "; the end of its log:" + "".join(f"\n    {line}" for line in lines) if lines else ""
        return f"{self.why}{end}"


@dataclass(frozen=True)
class Ended:
    """The end of a job: an answer, or a loss.

    answer: what its function returned. place: names the machine that it ran on, empty where it is not known.
    """

    name: str
    answer: Any = None
    loss: Loss | None = None
    place: str = ""


class Engine(Protocol):
    """Runs jobs on machines. All methods are called by one thread.

    A function that raises is a mistake in sslbench, since jobs answer with their failures; the exception is raised by `collect`.
    """

    def check(self, needs: Sequence[Needs]) -> None:
        """Raise EngineError where some of these can be met nowhere, before anything is submitted."""

    @property
    def has_gpus(self) -> bool:
        """Whether it has any GPU to give."""

    def places(self) -> list[str]:
        """The machines that are known before anything runs; empty where an engine cannot tell."""

    def submit(self, job: Job) -> None:
        """Have a job run as soon as there is room; earlier ones of the same needs come first."""

    def collect(self, seconds: float) -> list[Ended]:
        """The jobs that ended since the last call; waits so long at most for the first.

        Raises EngineError where the engine is gone.
        """

    def running(self) -> int:
        """How many of the submitted jobs have begun and not ended, as far as is known."""

    def close(self) -> None:
        """Stop what has not ended, and let go of everything. May be called twice."""


@runtime_checkable
class Excluding(Protocol):
    """An engine that can leave a machine out; what has no such method cannot."""

    def exclude(self, place: str) -> None:
        """Run nothing there that is submitted from now on; it is none of `places` any more, and meets no needs."""


@dataclass(frozen=True)
class Option:
    """One `NAME=VALUE` of `--sslbench-engine-options`. read: from its text; raises ValueError. help: a few words."""

    read: Callable[[str], Any]
    default: Any
    help: str


def yes_or_no(text: str) -> bool:
    """How a switch among an engine's options is read. Raises ValueError."""
    if text not in ("yes", "no"):
        raise ValueError("expected yes or no")
    return text == "yes"


@dataclass(frozen=True)
class EngineSpec:
    """The declaration of an engine.

    start: called with the value of each option and the folder of the run, for logs. Raises EngineError where the engine is not
    installed or cannot be reached. extra: of this package, that installs what it needs; empty for none. elsewhere: whether jobs
    may run on other machines.
    """

    name: str
    summary: str
    start: Callable[[Mapping[str, Any], Any], Engine]
    options: Mapping[str, Option]
    extra: str = ""
    elsewhere: bool = True


ENGINES: Registry[EngineSpec] = Registry("engine")


def engine_spec(name: str) -> EngineSpec:
    """The declaration behind a name; UnknownNameError lists the nearest known ones."""
    if not len(ENGINES):
        import sslbench.engine.engines as package

        for spec in declared(package.__name__, package.__path__, "ENGINE"):
            ENGINES.add(spec.name, spec)
    return ENGINES[name]
