"""One training of a trial, as every protocol that trains has it: threads, memory, the loop, and what a state depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from sslbench.features.allocator import keep_large_blocks, return_large_blocks
from sslbench.features.device import device_name
from sslbench.threads import look
from sslbench.training.curves import Curve, curve_of
from sslbench.training.loop import Learner, Line, Plan, train
from sslbench.training.progress import GridBar

L = TypeVar("L", bound=Learner)


def trained(
    make: Callable[[], L], plan: Plan, *, schedule: Callable[[float], float], begun_with: Mapping[str, Any],
    folder: Path | None, device: torch.device, save_seconds: float, bar: GridBar,
) -> tuple[L, list[Line], Curve]:  # fmt: skip
    """The learner after its training, the log, and the learning curve.

    make: a new learner, whose optimiser's own rate is that of the curve; the rest as for `sslbench.training.loop.train`.

    Raises DivergedError.
    """
    # Between two trainings alone: another number of threads adds in another order.
    look()
    if device.type == "cpu":
        keep_large_blocks()
    try:
        learner = make()
        log = train(
            learner, plan, schedule=schedule, folder=folder, bfloat16=False, save_seconds=save_seconds, advance=bar.advance,
            begun_with={**begun_with, "device": device_name(device), "torch": torch.__version__},
        )  # fmt: skip
    finally:
        if device.type == "cpu":
            return_large_blocks()
    base = float(learner.optimiser.defaults["lr"])
    return learner, log, curve_of(log, lambda step: base * schedule(plan.progress(step)))
