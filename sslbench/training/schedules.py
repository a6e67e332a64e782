"""Schedules of the learning rate: pure functions from progress, 0 to 1 over the training, to a factor of the base rate."""

from __future__ import annotations

import math


def cosine(progress: float, start: float = 0.0) -> float:
    """Half a cosine from 1 at `start` to 0 at 1, step for step (Loshchilov and Hutter 2017, without restarts)."""
    return (1 + math.cos(math.pi * (progress - start) / (1 - start))) / 2


def warmup_cosine(progress: float, warmup: float) -> float:
    """A line from 0 to 1 over the first `warmup` (a fraction of the training), then `cosine` over the rest.

    The first step has rate 0.
    """
    return progress / warmup if progress < warmup else cosine(progress, warmup)
