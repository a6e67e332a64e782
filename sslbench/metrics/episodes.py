"""The metric of few-shot evaluation: the mean accuracy over episodes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.score import Score


def episode_mean(accuracies: NDArray[np.floating[Any]]) -> Score:
    """Mean few-shot accuracy in percent over E episodes; ``n`` counts episodes.

    With s the standard deviation of the accuracies (divisor E), stderr = s / sqrt(E) and ci95 = mean +- 1.96 stderr,
    not clipped. This is what Ericsson, Gouk and Hospedales, "How Well Do Self-Supervised Models Transfer?" (CVPR
    2021), report: 1.96 * np.std(accuracies) / sqrt(600) over 600 episodes.

    Args:
        accuracies: (E,) fractions in [0, 1], one per episode.

    Raises:
        ValueError: not one-dimensional, empty, or an accuracy that is nan or outside [0, 1].
    """
    accuracies = np.asarray(accuracies, dtype=np.float64)
    if accuracies.ndim != 1 or accuracies.size == 0:
        raise ValueError(f"accuracies: expected shape (E,) with E >= 1, got {accuracies.shape}")
    bad = np.flatnonzero(~((accuracies >= 0) & (accuracies <= 1)))
    if bad.size:
        raise ValueError(f"accuracies: expected fractions in [0, 1], got {accuracies[bad[0]]} at episode {bad[0]}")
    value = 100 * float(accuracies.mean())
    stderr = 100 * float(accuracies.std()) / math.sqrt(accuracies.size)
    return Score(value, stderr, (value - 1.96 * stderr, value + 1.96 * stderr), n=accuracies.size)
