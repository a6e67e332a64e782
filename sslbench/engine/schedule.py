"""When work would be done on several devices: list scheduling, what has the longest way to go first."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Of a device: whole numbers, so that four quarters are one.
_PARTS = 1 << 20


@dataclass(frozen=True)
class Unit:
    """Something that runs without a break on one device.

    seconds: how long. after: names of those that have to be done before. share: of a device, more than 0 and at most 1; units
    whose shares fit run side by side at full speed, which is assumed.
    """

    name: str
    seconds: float
    after: tuple[str, ...] = ()
    share: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """start, end: seconds from the beginning, by name. device: the number of each. wall: when all is done."""

    start: Mapping[str, float]
    end: Mapping[str, float]
    device: Mapping[str, int]

    @property
    def wall(self) -> float:
        """Seconds until the last unit has ended."""
        return max(self.end.values(), default=0.0)


def ways(units: Sequence[Unit]) -> dict[str, float]:
    """Seconds from the start of each unit until all that waits for it could be done, with a device for each.

    Raises ValueError for a name that stands twice, for one that nobody has, and for a circle.
    """
    by_name = {unit.name: unit for unit in units}
    if len(by_name) != len(units):
        raise ValueError("expected units of different names")
    waiting: dict[str, list[str]] = {name: [] for name in by_name}
    for unit in units:
        for name in unit.after:
            if name not in waiting:
                raise ValueError(f"{unit.name} waits for {name}, which is none of the units")
            waiting[name].append(unit.name)
    left = {name: len(those) for name, those in waiting.items()}
    ready = [name for name, count in left.items() if not count]
    found: dict[str, float] = {}
    while ready:
        name = ready.pop()
        found[name] = by_name[name].seconds + max((found[other] for other in waiting[name]), default=0.0)
        for before in by_name[name].after:
            left[before] -= 1
            if not left[before]:
                ready.append(before)
    if len(found) != len(units):
        raise ValueError("some units wait for each other in a circle")
    return found


def schedule(units: Sequence[Unit], devices: int) -> Schedule:
    """Each unit as soon as it may and there is room, those with the longest way to the end first.

    Of several devices with room the fullest one takes it, so that whole ones stay free. Raises ValueError for no device, and for
    a share that no device has.
    """
    if devices < 1:
        raise ValueError(f"expected one device or more, got {devices}")
    if odd := [unit.name for unit in units if not 0 < unit.share <= 1]:
        raise ValueError(f"expected shares of more than 0 and at most 1, not that of {odd[0]}")
    far = ways(units)
    by_name = {unit.name: unit for unit in units}
    left = {unit.name: len(set(unit.after)) for unit in units}
    waiting: dict[str, list[str]] = {unit.name: [] for unit in units}
    for unit in units:
        for name in set(unit.after):
            waiting[name].append(unit.name)
    # By share, since those of one share fit or do not fit together; a grid has thousands.
    ready: dict[int, list[tuple[float, str]]] = {}

    def add(name: str) -> None:
        heapq.heappush(ready.setdefault(_parts(by_name[name]), []), (-far[name], name))

    for name, count in left.items():
        if not count:
            add(name)
    # More than one for each never help.
    devices = min(devices, max(1, len(units)))
    room = [_PARTS] * devices
    running: list[tuple[float, str]] = []
    start: dict[str, float] = {}
    end: dict[str, float] = {}
    device: dict[str, int] = {}
    now = 0.0
    while True:
        while fitting := [(queue[0], parts) for parts, queue in ready.items() if queue and parts <= max(room)]:
            (_, name), parts = min(fitting)
            heapq.heappop(ready[parts])
            place = min((number for number in range(devices) if room[number] >= parts), key=lambda number: room[number])
            room[place] -= parts
            start[name], end[name], device[name] = now, now + by_name[name].seconds, place
            heapq.heappush(running, (end[name], name))
        if not running:
            break
        now = running[0][0]
        while running and running[0][0] <= now:
            _, name = heapq.heappop(running)
            room[device[name]] += _parts(by_name[name])
            for other in waiting[name]:
                left[other] -= 1
                if not left[other]:
                    add(other)
    return Schedule(start, end, device)


def _parts(unit: Unit) -> int:
    return max(1, round(unit.share * _PARTS))
