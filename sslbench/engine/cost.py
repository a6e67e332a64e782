"""What a case will take, from names alone: seconds, memory, disk, and how many of its trainings can run side by side.

Neither a picture nor weights are looked at, and torch is imported only where a network has to be counted. What is measured,
what is scaled from measurements and what is assumed are told apart in `Cost.said`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sslbench.config import Settings
from sslbench.engine.base import Needs
from sslbench.engine.costs.devices import ASSUMED_GPU, Device
from sslbench.engine.costs.model import extract_seconds, geometry, own_seconds, training_seconds
from sslbench.engine.costs.networks import Network, network_of
from sslbench.engine.costs.pictures import Counted, pictures_of
from sslbench.engine.costs.work import Work, work_of
from sslbench.results.record import case_name

if TYPE_CHECKING:
    from sslbench.engine.costs.remembered import Remembered
    from sslbench.tasks import Task

# What a process with torch and its CUDA context takes by itself, measured on a CPU and assumed on a GPU.
_PROCESS, _CONTEXT = 1_500_000_000, 700_000_000
_FLOAT = 4
# Several cases share a GPU where each takes so little of it.
SHARED = 0.25


@dataclass(frozen=True)
class Stage:
    """Trainings of one case that can run side by side; stages follow each other. seconds: of each."""

    name: str
    trials: int
    seconds: float


@dataclass(frozen=True)
class Disk:
    """Bytes that a case leaves: features (or maps), decoded pictures, results of trials. Cases may share the first two."""

    features: int = 0
    pictures: int = 0
    trials: int = 0


@dataclass(frozen=True)
class Cost:
    """What is expected of a case.

    seconds: of all, on one device, one training after the other; None where it cannot be told, and `unknown` says why.
    extract: of these, those for features that other cases of the same `features` have for free afterwards. stages: of these, the
    trainings. rest: of these, all else. trains: whether it runs the network itself. trials: trainings that can be handed out.
    gpu_memory, memory: bytes, of the device and of the process. small: whether several share a GPU. pictures: names the decoded
    pictures that it shares. said: by `seconds`, `network`, `pictures`, `memory`, where the figure is from.
    """

    case: str
    seconds: float | None
    extract: float = 0.0
    stages: tuple[Stage, ...] = ()
    rest: float = 0.0
    trains: bool = False
    trials: int = 0
    gpu_memory: int = 0
    memory: int = _PROCESS
    small: bool = False
    disk: Disk = Disk()
    features: str = ""
    pictures: str = ""
    unknown: tuple[str, ...] = ()
    said: Mapping[str, str] = field(default_factory=dict)

    @property
    def order(self) -> float:
        """What to sort by, the largest first: seconds, and before all of them what nobody can tell."""
        return float("inf") if self.seconds is None else self.seconds

    @property
    def longest(self) -> float | None:
        """Seconds of the case on as many devices as it has trainings: no run of it can be shorter."""
        if self.seconds is None:
            return None
        return self.extract + sum(stage.seconds for stage in self.stages) + self.rest


def expected(
    backbone: str, task: Task, *, device: Device | None = None, settings: Settings | None = None,
    remembered: Remembered | None = None,
) -> Cost:  # fmt: skip
    """What one case will take on one device, all of its trainings one after the other.

    backbone: a name that `load_backbone` takes. device: by default that of most of the remembered records, else an A100, for want
    of anything known. settings: which choices and which data. remembered: timings of earlier records, which come before anything
    that is assumed.
    """
    settings = settings or Settings()
    device = device or (remembered.device if remembered is not None else None) or ASSUMED_GPU
    case = case_name(backbone, task.id)
    network, pictures = network_of(backbone), pictures_of(task.dataset, settings)
    reasons = tuple(
        f"{what}: {found}" for what, found in (("network", network), ("pictures", pictures)) if isinstance(found, str)
    )
    if isinstance(network, str) or isinstance(pictures, str):
        return _by_memory(case, reasons, device, remembered)
    work = work_of(task, network, pictures, geometry(task, settings))
    if isinstance(work, str):
        return _by_memory(case, (work,), device, remembered)
    return _cost(case, backbone, task, network, pictures, work, device, remembered)


def needs(cost: Cost, gpus: bool) -> Needs:
    """What a job of this case takes of a machine. gpus: whether the engine has any.

    A case that trains has a GPU to itself, and a core to decode beside the one that waits for it. Small ones share a GPU, four at
    a time. So does nothing whose cost is not known.
    """
    if not gpus:
        return Needs(cpus=1.0, memory=cost.memory)
    return Needs(gpus=SHARED if cost.small else 1.0, cpus=1.0 if cost.small else 2.0, memory=cost.memory)


def _by_memory(case: str, reasons: tuple[str, ...], device: Device, remembered: Remembered | None) -> Cost:
    """The cost of a case of which nothing but a record tells."""
    found = remembered.exact(case, device) if remembered is not None else None
    if found is None:
        return Cost(case, None, unknown=reasons)
    return Cost(
        case, found.seconds, extract=found.extract, rest=found.fit + found.score, memory=found.memory or _PROCESS,
        said={"seconds": found.told}, unknown=(),
    )  # fmt: skip


def _cost(
    case: str, backbone: str, task: Task, network: Network, pictures: Counted, work: Work, device: Device,
    remembered: Remembered | None,
) -> Cost:  # fmt: skip
    extract, own, told = extract_seconds(work, device), own_seconds(work, device), device.assumption
    memory, memory_told = _PROCESS + _in_memory(work), "assumed"
    if remembered is not None:
        extract, own, told = remembered.seconds(case, task, work, device, (extract, own, told))
        if (exact := remembered.exact(case, device)) is not None and exact.memory:
            memory, memory_told = exact.memory, exact.told
    modelled = own_seconds(work, device)
    factor = own / modelled if modelled else 0.0
    stages = _stages(work, device, factor)
    trained = sum(stage.trials * stage.seconds for stage in stages)
    gpu_memory = int(_CONTEXT + _FLOAT * (work.activations + work.states) + work.resident)
    light = not work.trains or network.macs < 2e8
    shown = f"{pictures.same}|{network.size}|{work.geometry}"
    per = pictures.size[0] * pictures.size[1] * 3 if work.originals else network.size**2 * 3
    return Cost(
        case, extract + own, extract=extract, stages=stages, rest=max(0.0, own - trained), trains=work.trains,
        trials=len(work.trainings), gpu_memory=gpu_memory, memory=memory,
        small=light and gpu_memory <= SHARED * (device.memory or ASSUMED_GPU.memory),
        disk=Disk(work.held, work.decoded * per, sum(training.kept for training in work.trainings)),
        features="" if work.trains else f"{backbone}|{shown}",
        pictures=f"{pictures.same}|originals" if work.originals else shown,
        said={"seconds": told, "network": network.known, "pictures": pictures.known, "memory": memory_told},
    )  # fmt: skip


def _in_memory(work: Work) -> int:
    # Features stand there once as they come, and once for the solver; weights once more while they are written.
    return int(2 * work.resident + 2 * _FLOAT * work.states)


def _stages(work: Work, device: Device, factor: float) -> tuple[Stage, ...]:
    found: dict[tuple[int, str, int], list[float]] = {}
    for training in work.trainings:
        found.setdefault((training.round, training.stage, training.steps), []).append(
            training_seconds(training, device) * factor
        )
    return tuple(Stage(name, len(each), sum(each) / len(each)) for (_, name, _), each in found.items())
