"""What a run would do, before it does anything: cases, records that are there, hours, disk."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sslbench.backbones.registry import expand_backbones
from sslbench.config import Settings
from sslbench.engine.cost import Cost, expected
from sslbench.engine.costs.devices import Device
from sslbench.engine.costs.remembered import Remembered
from sslbench.engine.plan_disk import Cached, Space, cached_for, space_of
from sslbench.engine.schedule import schedule, ways
from sslbench.engine.schedule_units import device_share, ordered, units_of
from sslbench.errors import SettingsError
from sslbench.results.record import Record, case_name
from sslbench.results.runs import Run
from sslbench.results.shared_run import SharedRun
from sslbench.tasks import CHOSEN, Task, expand_tasks, suite, within_suite


@dataclass(frozen=True)
class Asked:
    """A suite, and globs of its backbones and tasks, None for all of them: what pytest would collect of names that are known."""

    suite: str
    backbones: Sequence[str] | None = None
    tasks: Sequence[str] | None = None

    @property
    def run(self) -> str:
        """The name of the run, as pytest would call it."""
        return self.suite if within_suite(self.tasks, self.suite) else CHOSEN

    def cases(self) -> list[tuple[str, Task]]:
        """Backbones with tasks, as pytest would collect them. Raises UnknownNameError for what matches nothing."""
        chosen = suite(self.suite)
        backbones = expand_backbones(chosen.backbones if self.backbones is None else self.backbones)
        tasks = expand_tasks(self.tasks, self.suite)
        named = self.backbones is not None and self.tasks is not None
        return [(backbone, task) for backbone in backbones for task in tasks if named or chosen.has(backbone, task)]


@dataclass(frozen=True)
class PlannedCase:
    """recorded: whether the run has a record that could count; that its key is still the same is seen when it is loaded."""

    name: str
    task: Task
    backbone: str
    cost: Cost
    recorded: bool


@dataclass(frozen=True)
class Hours:
    """Of the cases of a protocol that are to run. device_seconds: of whole devices. unknown: cases without an estimate.

    told: where the seconds are from, and of how many cases.
    """

    cases: int
    recorded: int
    trainings: int
    device_seconds: float
    unknown: int
    told: Mapping[str, int]


@dataclass(frozen=True)
class Plan:
    """A plan. wall: seconds on all devices. chain: seconds that no number of devices gets below."""

    run: Run
    device: Device
    devices: int
    cases: tuple[PlannedCase, ...]
    protocols: Mapping[str, Hours]
    wall: float
    chain: float
    space: Space
    cached: Cached
    notes: tuple[str, ...]

    @property
    def to_run(self) -> list[PlannedCase]:
        """Without those that have a record."""
        return [case for case in self.cases if not case.recorded]

    @property
    def device_seconds(self) -> float:
        """Of all cases that are to run."""
        return sum(hours.device_seconds for hours in self.protocols.values())

    def largest(self, count: int = 5) -> list[tuple[PlannedCase, int]]:
        """The most expensive case of each of so many tasks, of which something is known, and how many cases the task has."""
        tasks: dict[str, list[PlannedCase]] = defaultdict(list)
        for case in self.to_run:
            if case.cost.seconds is not None:
                tasks[case.task.id].append(case)
        found = [(min(cases, key=lambda case: (-case.cost.order, case.name)), len(cases)) for cases in tasks.values()]
        return sorted(found, key=lambda each: (-each[0].cost.order, each[0].name))[:count]

    @property
    def unknown(self) -> dict[str, list[str]]:
        """Names of cases without an estimate, by the reason."""
        found: dict[str, list[str]] = defaultdict(list)
        for case in self.to_run:
            if case.cost.seconds is None:
                found["; ".join(case.cost.unknown)].append(case.name)
        return dict(found)


def make_plan(
    run: Run, wanted: Iterable[tuple[str, Task]], settings: Settings, device: Device, devices: int, *,
    records: Iterable[Record] = (), rerun: str = "missing",
) -> Plan:  # fmt: skip
    """The plan of a run on so many devices. Opens no picture and no weights.

    Raises SettingsError for less than one device, StoreError where the run is in a store that cannot be read.

    wanted: its cases. records: of other runs, whose timings are used beside those of this one. rerun: which of its records do
    not count, as of `sslbench.runner.resumed_record`.
    """
    if devices < 1:
        raise SettingsError(f"expected one GPU (or process) or more, got {devices}")
    own, notes = _own_records(run)
    timed = [*records, *own]
    remembered = Remembered.of(timed, settings) if timed else None
    recorded = {record.case for record in own if rerun != "all" and (rerun, record.verdict) != ("failed", "below")}
    cases = []
    for backbone, task in dict.fromkeys(wanted):
        name = case_name(backbone, task.id)
        cost = expected(backbone, task, device=device, settings=settings, remembered=remembered)
        cases.append(PlannedCase(name, task, backbone, cost, name in recorded))
    waiting = [case for case in cases if not case.recorded]
    units = units_of([case.cost for case in waiting], device)
    wall = schedule(units, devices).wall
    chain = max(ways(units).values(), default=0.0)
    return Plan(
        run, device, devices, tuple(cases), _by_protocol(cases, device), wall, chain, space_of(cases, settings),
        cached_for(cases, settings), notes,
    )  # fmt: skip


def _by_protocol(cases: Sequence[PlannedCase], device: Device) -> dict[str, Hours]:
    placed = {each.cost.case: each for each in ordered(case.cost for case in cases if not case.recorded)}
    found = {}
    for protocol in sorted({case.task.protocol for case in cases}):
        own = [case for case in cases if case.task.protocol == protocol]
        waiting = [case for case in own if not case.recorded]
        known = [placed[case.name] for case in waiting if case.name in placed]
        told = Counter(each.cost.said.get("seconds", "") for each in known)
        found[protocol] = Hours(
            len(own), len(own) - len(waiting), sum(case.cost.trials for case in waiting),
            sum(each.seconds * device_share(each.cost, device) for each in known), len(waiting) - len(known), dict(told),
        )  # fmt: skip
    return found


def _own_records(run: Run) -> tuple[list[Record], tuple[str, ...]]:
    """Those of today's schema and protocol version, in a store too, and what was said of others. Raises StoreError."""
    damaged = []
    if isinstance(run, SharedRun):
        # A first question, which is given up within seconds.
        run.store.first_names("records/")
        damaged = run.pull()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = run.records()
    return found, (*damaged, *(str(each.message) for each in said))
