"""Costs of cases as units of a schedule: what can be placed by itself, and what it waits for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sslbench.engine.cost import Cost, needs
from sslbench.engine.costs.devices import Device
from sslbench.engine.schedule import Unit


def units_of(costs: Iterable[Cost], device: Device) -> list[Unit]:
    """What can be placed by itself: trainings of a grid side by side, then what follows; a case without any as one.

    Of cases that share features the cheapest goes first and makes them; the others wait for it and find them. Those of which
    nothing is known are left out.
    """
    units = []
    for placed in ordered(costs):
        cost, before = placed.cost, placed.after
        share = device_share(cost, device)
        for number, stage in enumerate(cost.stages):
            names = tuple(f"{cost.case} {stage.name} {number}.{trial}" for trial in range(stage.trials))
            units += [Unit(name, stage.seconds, before, share) for name in names]
            before = names
        units.append(Unit(cost.case, cost.rest + placed.extract, before, share))
    return units


@dataclass(frozen=True)
class OrderedCost:
    """A known cost. after: the case that makes its features, where another one does. extract: seconds that it makes them for."""

    cost: Cost
    after: tuple[str, ...]
    extract: float

    @property
    def seconds(self) -> float:
        """With the making of the features where this one makes them."""
        own = 0.0 if self.cost.seconds is None else self.cost.seconds - self.cost.extract
        return own + self.extract


def ordered(costs: Iterable[Cost]) -> list[OrderedCost]:
    """The known ones, cheapest first, where each waits for the one that makes its features."""
    known = sorted((cost for cost in costs if cost.seconds is not None), key=lambda cost: (cost.order, cost.case))
    # In records the one that made the features alone has taken time for them, and it need not be the first one here.
    made: dict[str, float] = defaultdict(float)
    for cost in known:
        made[cost.features] = max(made[cost.features], cost.extract)
    found: list[OrderedCost] = []
    first: dict[str, str] = {}
    for cost in known:
        if not cost.features:
            found.append(OrderedCost(cost, (), cost.extract))
        elif cost.features in first:
            found.append(OrderedCost(cost, (first[cost.features],), 0.0))
        else:
            first[cost.features] = cost.case
            found.append(OrderedCost(cost, (), made[cost.features]))
    return found


def device_share(cost: Cost, device: Device) -> float:
    """The part of a device that a case takes."""
    # A process of a CPU has a core to itself.
    return needs(cost, gpus=True).gpus if device.is_gpu else 1.0
