"""What earlier records took, which comes before anything that is assumed."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sslbench.config import Settings
from sslbench.engine.costs.devices import DEVICES, Device
from sslbench.engine.costs.model import extract_seconds, own_seconds, work_of_case
from sslbench.engine.costs.work import Work
from sslbench.environment import cpu_model

if TYPE_CHECKING:
    from sslbench.results.record import Record
    from sslbench.tasks import Task


@dataclass(frozen=True)
class Timing:
    """What one record says.

    extract, fit, score: seconds. images_per_second: of its extraction, None where features were there. memory: most bytes of its
    process. told: where it was measured.
    """

    case: str
    task: str
    extract: float
    fit: float
    score: float
    images_per_second: float | None
    memory: int
    environment: Mapping[str, Any]
    told: str

    @property
    def seconds(self) -> float:
        """Of all three."""
        return self.extract + self.fit + self.score


@dataclass
class Remembered:
    """Timings by case. Of several records of one case the last one counts."""

    timings: Mapping[str, Timing]
    settings: Settings = field(default_factory=Settings)
    _ratios: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record], settings: Settings | None = None) -> Remembered:
        """From records of any run or baseline."""
        found = {}
        for record in sorted(records, key=lambda record: record.created):
            times, environment = record.timings, record.environment
            extract, fit, score = (float(times.get(part) or 0.0) for part in ("extract", "fit", "score"))
            found[record.case] = Timing(
                record.case, record.task["id"], extract, fit, score, times.get("images_per_second"),
                int(record.peak_memory.get("rss") or 0), environment, _where(environment),
            )  # fmt: skip
        return cls(found, settings or Settings())

    @cached_property
    def device(self) -> Device | None:
        """That of most records, as far as it is known; None without any."""
        counts = {
            device.name: sum(device.has_run(timing.environment) for timing in self.timings.values())
            for device in DEVICES.values()
        }
        most = max(counts, key=lambda name: counts[name])
        return DEVICES[most] if counts[most] else None

    def exact(self, case: str, device: Device) -> Timing | None:
        """The record of this very case on such a device."""
        found = self.timings.get(case)
        return found if found is not None and device.has_run(found.environment) else None

    def seconds(
        self, case: str, task: Task, work: Work, device: Device, modelled: tuple[float, float, str]
    ) -> tuple[float, float, str]:
        """Seconds of extraction and of all else, and where they are from, by the nearest that there is.

        The same case; else the model, corrected by how far it was off on the same task, on the same protocol, and for extraction
        on any pictures of such a device. modelled: what nobody measured.
        """
        if (exact := self.exact(case, device)) is not None:
            return exact.extract, exact.fit + exact.score, exact.told
        extract, own, told = modelled
        ratios = self._off(device)
        for name, what in ((task.id, "the same task"), (task.protocol, "the same protocol")):
            if found := ratios.get(name):
                own *= statistics.median(found)
                told = f"scaled from {len(found)} record{'s' * (len(found) > 1)} of {what}"
                break
        if rates := ratios.get(""):
            extract *= statistics.median(rates)
            told = told if told != modelled[2] else f"{told}; extraction scaled from records of such a device"
        return extract, own, told

    def _off(self, device: Device) -> dict[str, list[float]]:
        """Measured by modelled seconds, by task and by protocol; those of extraction under no name."""
        if device.name not in self._ratios:
            self._ratios[device.name] = self._compared(device)
        return self._ratios[device.name]

    def _compared(self, device: Device) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for timing in self.timings.values():
            if not device.has_run(timing.environment):
                continue
            work = work_of_case(timing.case, self.settings)
            if isinstance(work, str):
                continue
            own = timing.fit + timing.score
            if (expected := own_seconds(work, device)) > 0 and own > 0:
                for name in (timing.task, timing.task.partition("/")[0]):
                    found.setdefault(name, []).append(own / expected)
            if timing.images_per_second and work.extracted:
                each = extract_seconds(work, device) / work.extracted
                found.setdefault("", []).append(1 / timing.images_per_second / each)
        return found


def _where(environment: Mapping[str, Any]) -> str:
    device, cpu = str(environment.get("device", "?")), str(environment.get("cpu", "?"))
    on = cpu if device == "cpu" else device
    # A GPU of this name may be another one of its kind; a processor that tells its name is taken for this one.
    here = device == "cpu" and cpu == cpu_model() and environment.get("cores") == os.cpu_count()
    return f"measured {'here' if here else 'in a record'}: on {on}"
