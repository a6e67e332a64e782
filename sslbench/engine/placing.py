"""Cases with what they need of a machine, what they will take, and which of them share features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sslbench.engine.base import Needs
from sslbench.engine.controller import Planned
from sslbench.engine.cost import Cost, expected, needs
from sslbench.engine.costs.remembered import Remembered
from sslbench.engine.settings import EngineSettings
from sslbench.engine.worker import Order
from sslbench.results.record import Record
from sslbench.tasks import Task


def place(
    cases: Iterable[tuple[str, Task]],
    template: Order,
    settings: EngineSettings,
    *,
    gpus: bool,
    records: Iterable[Record] = (),
) -> list[Planned]:
    """Each case once. template: an order with all that orders have in common. gpus: whether cases are to take any.

    records: of earlier runs, whose timings count before what is only expected.
    """
    remembered = Remembered.of(list(records))
    planned = []
    for backbone, task in dict.fromkeys(cases):
        cost = expected(backbone, task, settings=template.settings, remembered=remembered)
        wanted = _needs(cost, settings, gpus=gpus)
        order = replace(
            template,
            backbone=backbone,
            task=task,
            # Trials are told to others through the cache.
            hand_over=cost.trials > 1 and (settings.shared or bool(template.settings.shared_cache)),
            threads=max(1, int(wanted.cpus)),
        )
        # Side by side its trainings take no longer than the longest of them one after another.
        seconds = cost.order if cost.longest is None or not order.hand_over else cost.longest
        planned.append(Planned(order, wanted, seconds, cost.features))
    return planned


def _needs(cost: Cost, settings: EngineSettings, *, gpus: bool) -> Needs:
    """What is said comes before what is expected. Memory is claimed when it is said alone: a guess must not forbid a machine."""
    own = needs(cost, gpus)
    return Needs(
        gpus=own.gpus if settings.gpus is None or not gpus else settings.gpus,
        cpus=own.cpus if settings.cpus is None else settings.cpus,
        memory=int(settings.memory * 2**30),
    )
