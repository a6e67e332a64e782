"""The controller: hands the cases that have no sound record to an engine, and takes in what comes back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sslbench.engine.base import Ended, Engine, Job, Loss, Needs
from sslbench.engine.excluded_machines import ExcludedMachines
from sslbench.engine.feature_groups import FeatureGroups
from sslbench.engine.unfit_machines import unfit_machines, why_unfit
from sslbench.engine.worker import Answer, Failure, Order, run
from sslbench.errors import EngineError, RecordError, SslbenchError
from sslbench.results.record import Record, case_name
from sslbench.results.runs import Run
from sslbench.results.shared_run import SharedRun

# A case whose process dies so often kills it; so often may its machine go before somebody has to look.
WORKER_DEATHS, MACHINE_LOSSES = 3, 10
_WAIT_SECONDS = 1.0
# How a GPU tells that it has no memory left: torch's way and sslbench's.
_NO_MEMORY = ("OutOfMemoryError", "DeviceError")


@dataclass(frozen=True)
class Planned:
    """A case with what is known of it before it runs.

    seconds: expected. shares: names the features that it makes or takes; of cases that share them one runs first, so that they
    are made once. Empty where it has none.
    """

    order: Order
    needs: Needs
    seconds: float = 0.0
    shares: str = ""

    @property
    def name(self) -> str:
        """As `Case.name`."""
        return case_name(self.order.backbone, self.order.task.id)


@dataclass
class _Asked:
    """A case on its way.

    missing: its trials that others are at. tried: those that others were ever at. deaths: by the cause of the losses of each of
    its jobs. failed: the first trial that did. warnings: of all of its jobs.
    """

    planned: Planned
    missing: set[str] = field(default_factory=set)
    tried: set[str] = field(default_factory=set)
    deaths: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failed: Answer | None = None
    warnings: tuple[tuple[type[Warning], str], ...] = ()


@dataclass(frozen=True)
class _Sent:
    """A job that an engine has: of which case, which of its trials if any, and with what needs."""

    case: str
    trial: str
    needs: Needs


@dataclass(frozen=True)
class Progress:
    """How far a session is. trials: how many are on their way beside the cases."""

    done: int
    cases: int
    running: int
    trials: int


class Controller:
    """Submits cases, most expensive first, and gives out each one's answer when somebody waits for it.

    A machine that cannot run any case is left out where the engine can do without it; where none is left, all ends.

    run: where records go, whoever scored them. tell: told of a progress now and then, while somebody waits. warn: told once of
    each machine that is left out, by its place, and why. check_claim: raises EngineError once the run is
    another controller's, by which this one stops.
    """

    def __init__(
        self,
        engine: Engine,
        run: Run,
        tell: Callable[[Progress], None] = lambda progress: None,
        warn: Callable[[str, str], None] = lambda place, why: None,
        check_claim: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine, self._run, self._tell = engine, run, tell
        self._check_claim = check_claim
        self._asked: dict[str, _Asked] = {}
        self._answers: dict[str, Answer] = {}
        self._jobs: dict[str, _Sent] = {}
        self._groups = FeatureGroups()
        self._numbers: Counter[str] = Counter()
        self._excluded = ExcludedMachines(engine, warn)
        # Whether a case or a trial has run on any machine.
        self._runs = False

    def check(self, cases: Sequence[Planned]) -> None:
        """Look whether the engine can run these, and at every machine that is known, before any is submitted.

        Raises EngineError where it cannot, or not without the machines that are left out.
        """
        if not cases:
            return
        needs = [planned.needs for planned in cases]
        self._engine.check(needs)
        if unfit := unfit_machines(self._engine, cases[0].order, self._collect):
            self._exclude(unfit, needs)

    def _exclude(self, unfit: Mapping[str, str], needs: Sequence[Needs]) -> None:
        if why := self._excluded.add(unfit, needs, cases_run=self._runs):
            self.close()
            raise EngineError(why)

    def submit(self, cases: Iterable[Planned]) -> None:
        """Have cases run. One that was submitted before is run again when it has failed, and otherwise left."""
        groups: dict[str, list[Planned]] = defaultdict(list)
        for planned in cases:
            if self._is_wanted(planned.name):
                groups[planned.shares or planned.name].append(planned)
        for group in sorted(groups.values(), key=lambda group: -sum(planned.seconds for planned in group)):
            self._submit_group(sorted(group, key=lambda planned: planned.seconds))

    def _submit_group(self, group: Sequence[Planned]) -> None:
        """The shortest first: as soon as it ends, the others find what it has made."""
        for planned in group:
            asked = self._asked[planned.name] = _Asked(planned)
            if self._groups.admit(planned.name, planned.shares):
                self._send(asked)

    def _is_wanted(self, name: str) -> bool:
        answer = self._answers.get(name)
        if answer is None:
            return name not in self._asked
        if answer.failure is None:
            return False
        del self._answers[name]
        return True

    def has(self, name: str) -> bool:
        """Whether a case was submitted."""
        return name in self._asked

    def wait_for(self, name: str) -> Answer:
        """A case's answer. Raises EngineError where no machine is left that can run it, or the engine or the run is gone."""
        while name not in self._answers:
            if not self._jobs:
                raise EngineError(f"{name} is not on its way: it was not submitted, or the engine has been stopped")
            # Answers first: the session may end with a machine, and they have left the engine.
            for ended in sorted(self._collect(), key=lambda ended: bool(why_unfit(ended))):
                self._take(ended)
            self._tell(self.progress)
        return self._answers[name]

    def _collect(self) -> list[Ended]:
        try:
            # All that is submitted later follows from what is collected here.
            self._check_claim()
            return self._engine.collect(_WAIT_SECONDS)
        except Exception as error:
            # Whatever else has ended may be lost with it, and would be waited for without end.
            self.close()
            if isinstance(error, SslbenchError):
                raise EngineError(str(error)) from error
            raise EngineError(
                f"the engine failed, which is a mistake in sslbench: {type(error).__name__}: {error}"
            ) from error

    @property
    def progress(self) -> Progress:
        """How far it is by now."""
        trials = sum(1 for sent in self._jobs.values() if sent.trial)
        return Progress(len(self._answers), len(self._asked), self._engine.running(), trials)

    def close(self) -> None:
        """Take in what has ended, and stop the rest. May be called twice."""
        try:
            for ended in self._last_ended():
                sent = self._jobs.pop(ended.name, None)
                # Nothing is submitted any more for what it would make possible.
                if sent is not None and isinstance(ended.answer, Answer) and ended.answer.record is not None:
                    self._answers[sent.case] = self._kept(sent.case, ended.answer)
        finally:
            self._jobs.clear()
            self._engine.close()

    def _last_ended(self) -> list[Ended]:
        try:
            return self._engine.collect(0) if self._jobs else []
        except Exception:  # noqa: BLE001 an engine that is gone; who closes it has been told, or has tables to write
            return []

    def _send(self, asked: _Asked, trial: str = "") -> None:
        planned, what = asked.planned, f"{asked.planned.name}{f' trial {trial[:8]}' if trial else ''}"
        # An engine may remember names of jobs that are lost.
        self._numbers[what] += 1
        name = f"{what} #{self._numbers[what]}" if self._numbers[what] > 1 else what
        self._jobs[name] = _Sent(planned.name, trial, planned.needs)
        order = replace(planned.order, trial=trial, hand_over=planned.order.hand_over and not trial)
        self._engine.submit(Job(name, run, order, planned.needs, near=self._groups.places.get(planned.shares, "")))

    def _take(self, ended: Ended) -> None:
        if ended.name not in self._jobs:
            return
        sent = self._jobs.pop(ended.name)
        name, trial, asked = sent.case, sent.trial, self._asked[sent.case]
        if why := why_unfit(ended):
            open_ones = [asked.planned.needs for name, asked in self._asked.items() if name not in self._answers]
            self._exclude({ended.place: why}, open_ones)
            self._lost(asked, trial, Loss("machine", why))
            return
        if ended.loss is not None:
            self._lost(asked, trial, ended.loss)
            return
        answer: Answer = ended.answer
        self._runs = True
        asked.warnings = tuple(dict.fromkeys((*asked.warnings, *answer.warnings)))
        if ended.place and asked.planned.shares:
            self._groups.places.setdefault(asked.planned.shares, ended.place)
        if answer.failure is not None and answer.failure.error in _NO_MEMORY and 0 < sent.needs.gpus < 1:
            # Its neighbours may have had it; so may those of a trial that was sent before another one found that out.
            asked.planned = replace(asked.planned, needs=replace(asked.planned.needs, gpus=1.0))
            self._send(asked, trial)
        elif trial:
            self._trial_ended(asked, trial, answer)
        elif answer.trials:
            if not asked.tried.isdisjoint(answer.trials):
                # They have ended and left no result, as on a full disk; handing them over again would never end.
                asked.planned = replace(asked.planned, order=replace(asked.planned.order, hand_over=False))
                self._send(asked)
                return
            asked.missing = set(answer.trials)
            asked.tried |= asked.missing
            for key in answer.trials:
                self._send(asked, key)
        else:
            self._finish(asked, self._kept(name, answer))

    def _trial_ended(self, asked: _Asked, trial: str, answer: Answer) -> None:
        asked.missing.discard(trial)
        if asked.failed is None and answer.failure is not None:
            asked.failed = answer
        if asked.missing:
            return
        if asked.failed is not None:
            self._finish(asked, asked.failed)
        else:
            self._send(asked)

    def _lost(self, asked: _Asked, trial: str, loss: Loss) -> None:
        deaths = asked.deaths[trial]
        deaths[loss.cause] += 1
        if deaths[loss.cause] < (WORKER_DEATHS if loss.cause == "worker" else MACHINE_LOSSES):
            self._send(asked, trial)
            return
        of = f"the trial {trial} of this case" if trial else "this case"
        what = "the process of {} died" if loss.cause == "worker" else "the machine of {} was lost"
        failure = Failure(
            "case",
            "EngineError",
            f"{what.format(of)} {deaths[loss.cause]} times, at last: {loss.message}",
        )
        if trial:
            self._trial_ended(asked, trial, Answer(failure=failure))
        else:
            self._finish(asked, Answer(failure=failure))

    def _finish(self, asked: _Asked, answer: Answer) -> None:
        planned, failed = asked.planned, answer.failure is not None
        self._answers[planned.name] = replace(answer, warnings=asked.warnings)
        for name in self._groups.released(planned.name, planned.shares, failed=failed):
            self._send(self._asked[name])

    def _kept(self, name: str, answer: Answer) -> Answer:
        """The answer, its record written where it is not."""
        if answer.record is None:
            return answer
        try:
            # Samples first: a record that can be read is whole.
            if answer.samples is not None:
                self._run.put_samples(name, answer.samples)
                self._run.put_record(name, answer.record)
            record = Record.from_json(answer.record, where=name)
        except RecordError as error:
            return replace(answer, failure=Failure("case", "RecordError", str(error)))
        if isinstance(self._run, SharedRun):
            # At once: who waits for it may be killed before its turn.
            self._run.push(record)
        return replace(answer, samples=None)
