"""What a run would do, before it does anything: cases, records that are there, hours, disk."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslbench.backbones.registry import expand_backbones
from sslbench.config import Settings
from sslbench.datasets import dataset_spec
from sslbench.engine.cost import Cost, expected, needs
from sslbench.engine.costs.devices import Device
from sslbench.engine.costs.pictures import pictures_of
from sslbench.engine.costs.remembered import Remembered
from sslbench.engine.schedule import Unit, schedule, ways
from sslbench.errors import CacheError, SettingsError
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
class Space:
    """Bytes on disk.

    data: to be got, by dataset, as far as sizes are stated. unstated: datasets of which some are not. there: datasets whose
    folder is there. pictures_allowed: what the settings let the cache keep of decoded ones.
    """

    data: Mapping[str, int]
    unstated: tuple[str, ...]
    there: tuple[str, ...]
    features: int
    pictures: int
    pictures_allowed: int
    trials: int


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


@dataclass(frozen=True)
class Cached:
    """What lies in the cache, as far as names tell it.

    features: pairs of backbone and pictures of which some split is there, of all such `pairs`. trials: finished trainings of the
    protocols that are planned, whatever they are of.
    """

    features: int
    pairs: int
    trials: Mapping[str, int]


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
        run, device, devices, tuple(cases), _by_protocol(cases, device), wall, chain, _space(cases, settings),
        _cached(cases, settings), notes,
    )  # fmt: skip


def units_of(costs: Iterable[Cost], device: Device) -> list[Unit]:
    """What can be placed by itself: trainings of a grid side by side, then what follows; a case without any as one.

    Of cases that share features the cheapest goes first and makes them; the others wait for it and find them. Those of which
    nothing is known are left out.
    """
    units = []
    for placed in _ordered(costs):
        cost, before = placed.cost, placed.after
        share = _share(cost, device)
        for number, stage in enumerate(cost.stages):
            names = tuple(f"{cost.case} {stage.name} {number}.{trial}" for trial in range(stage.trials))
            units += [Unit(name, stage.seconds, before, share) for name in names]
            before = names
        units.append(Unit(cost.case, cost.rest + placed.extract, before, share))
    return units


@dataclass(frozen=True)
class _Placed:
    """A known cost. after: the case that makes its features, where another one does. extract: seconds that it makes them for."""

    cost: Cost
    after: tuple[str, ...]
    extract: float

    @property
    def seconds(self) -> float:
        own = 0.0 if self.cost.seconds is None else self.cost.seconds - self.cost.extract
        return own + self.extract


def _ordered(costs: Iterable[Cost]) -> list[_Placed]:
    known = sorted((cost for cost in costs if cost.seconds is not None), key=lambda cost: (cost.order, cost.case))
    # In records the one that made the features alone has taken time for them, and it need not be the first one here.
    made: dict[str, float] = defaultdict(float)
    for cost in known:
        made[cost.features] = max(made[cost.features], cost.extract)
    found: list[_Placed] = []
    first: dict[str, str] = {}
    for cost in known:
        if not cost.features:
            found.append(_Placed(cost, (), cost.extract))
        elif cost.features in first:
            found.append(_Placed(cost, (first[cost.features],), 0.0))
        else:
            first[cost.features] = cost.case
            found.append(_Placed(cost, (), made[cost.features]))
    return found


def _share(cost: Cost, device: Device) -> float:
    # A process of a CPU has a core to itself.
    return needs(cost, gpus=True).gpus if device.is_gpu else 1.0


def _by_protocol(cases: Sequence[PlannedCase], device: Device) -> dict[str, Hours]:
    placed = {each.cost.case: each for each in _ordered(case.cost for case in cases if not case.recorded)}
    found = {}
    for protocol in sorted({case.task.protocol for case in cases}):
        own = [case for case in cases if case.task.protocol == protocol]
        waiting = [case for case in own if not case.recorded]
        known = [placed[case.name] for case in waiting if case.name in placed]
        told = Counter(each.cost.said.get("seconds", "") for each in known)
        found[protocol] = Hours(
            len(own), len(own) - len(waiting), sum(case.cost.trials for case in waiting),
            sum(each.seconds * _share(each.cost, device) for each in known), len(waiting) - len(known), dict(told),
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


def _space(cases: Sequence[PlannedCase], settings: Settings) -> Space:
    data: dict[str, int] = {}
    there, unstated = [], []
    for name in dict.fromkeys(case.task.dataset for case in cases):
        spec = dataset_spec(name)
        sizes = [source.size for source in spec.sources if not source.inner]
        if not spec.folder or not sizes:
            continue
        if (settings.data_dir / spec.folder).is_dir():
            there.append(name)
        else:
            data[name] = sum(size for size in sizes if size is not None)
            unstated += [name] if None in sizes else []
    features: dict[str, int] = {}
    pictures: dict[str, int] = {}
    for case in cases:
        cost = case.cost
        if case.recorded or cost.seconds is None:
            continue
        for key, most, size in (
            (cost.features, features, cost.disk.features), (cost.pictures, pictures, cost.disk.pictures),
        ):  # fmt: skip
            if key:
                most[key] = max(most.get(key, 0), size)
    allowed = int(settings.decoded_gib * 2**30)
    trials = sum(case.cost.disk.trials for case in cases if not case.recorded)
    return Space(data, tuple(unstated), tuple(there), sum(features.values()), sum(pictures.values()), allowed, trials)


def _cached(cases: Sequence[PlannedCase], settings: Settings) -> Cached:
    from sslbench.features.cache import FeatureCache

    pairs = {(case.backbone, case.task.dataset) for case in cases if case.cost.features}
    found: dict[str, set[str]] = defaultdict(set)
    for entry in FeatureCache(settings.cache_dir).entries():
        found[entry.label].add(str(entry.recipe.get("images", "")))
    there = {pair for pair in pairs if any(_is_of(images, pair[1], settings) for images in found.get(pair[0], ()))}
    planned = {case.task.protocol for case in cases}
    return Cached(len(there), len(pairs), _trials(settings.cache_dir / "trials", planned))


def _trials(folder: Path, protocols: set[str]) -> dict[str, int]:
    """Finished trainings by protocol; what each is of stands in it by digests alone."""
    from sslbench.training.trial_result import read_description

    found: dict[str, int] = defaultdict(int)
    for path in sorted(folder.glob("*.json")):
        try:
            told = read_description(path)["case"].get("protocol")
        except CacheError:
            # It would be trained again, and says so then.
            continue
        if isinstance(told, list) and told and told[0] in protocols:
            found[str(told[0])] += 1
    return dict(found)


def _is_of(images: str, dataset: str, settings: Settings) -> bool:
    """Whether a fingerprint of pictures is one of a dataset's."""
    if images.startswith(f"{dataset}:"):
        return True
    pictures = pictures_of(dataset, settings)
    return not isinstance(pictures, str) and images in pictures.same.split("+")
