"""Cases with what they need of a machine, what they will take, and which of them share features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sslbench.engine.base import Needs
from sslbench.engine.controller import Planned
from sslbench.engine.settings import EngineSettings
from sslbench.engine.worker import Order
from sslbench.protocols import protocol_spec
from sslbench.tasks import Task


def place(cases: Iterable[tuple[str, Task]], template: Order, settings: EngineSettings, *, gpus: bool) -> list[Planned]:
    """Each case once. template: an order with all that orders have in common. gpus: whether cases are to take any."""
    planned = []
    for backbone, task in dict.fromkeys(cases):
        trains = protocol_spec(task.protocol).by_name
        given = (1.0 if trains else 0.25) if settings.gpus is None else settings.gpus
        needs = Needs(given if gpus else 0.0, settings.cpus)
        # Trials are told to others through the cache.
        hand_over = trains and (settings.shared or bool(template.settings.shared_cache))
        order = replace(template, backbone=backbone, task=task, hand_over=hand_over, threads=max(1, int(settings.cpus)))
        planned.append(Planned(order, needs, 1.0, "" if trains else f"{backbone}|{task.dataset}"))
    return planned
