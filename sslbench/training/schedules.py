"""Schedules of the learning rate: pure functions from progress, 0 to 1 over the training, to a factor of the base rate."""

from __future__ import annotations

import math
from collections.abc import Sequence


def cosine(progress: float, start: float = 0.0) -> float:
    """Half a cosine from 1 at `start` to 0 at 1, step for step (Loshchilov and Hutter 2017, without restarts)."""
    return (1 + math.cos(math.pi * (progress - start) / (1 - start))) / 2


def warmup_cosine(progress: float, warmup: float) -> float:
    """A line from 0 to 1 over the first `warmup` (a fraction of the training), then `cosine` over the rest.

    The first step has rate 0.
    """
    return progress / warmup if progress < warmup else cosine(progress, warmup)


def warmup_drops(progress: float, *, steps: int, warmup: int, first: float, drops: Sequence[int]) -> float:
    """A line from `first` to 1 over the first `warmup` steps, and a tenth of the rate from each step in `drops` on.

    steps: of the whole training. Source: detectron2's `WarmupMultiStepLR`.
    """
    step = round(progress * steps)
    rise = first * (1 - step / warmup) + step / warmup if step < warmup else 1.0
    return rise * 0.1 ** sum(step >= drop for drop in drops)


def poly(progress: float, *, steps: int, power: float, warmup: int = 0, lag: int = 0) -> float:
    """`(1 - step / steps) ** power` (Liu et al. 2015, ParseNet), after a line up over the first `warmup` steps.

    steps: of the whole training. lag: so many steps later, where the rate is set after a step instead of before it. The first
    step has a rate.
    """
    step = round(progress * steps)
    rise = (step + 1) / warmup if step < warmup else 1.0
    return rise * float((1 - max(0, step - lag) / steps) ** power)
