"""Metrics: pure functions from predictions and targets to a :class:`Score`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from sslbench.metrics.classification import correct, mean_per_class, top1
from sslbench.metrics.episodes import episode_mean
from sslbench.metrics.multilabel import voc_map11, voc_map11_resampled
from sslbench.metrics.score import Score

METRICS: Mapping[str, Callable[[NDArray[Any], NDArray[Any]], Score]] = MappingProxyType(
    {"top1": top1, "mean_per_class": mean_per_class, "voc_map11": voc_map11}
)
"""The metrics a data set can name; each takes decision values (N, K) and targets and returns a Score."""

SELECTION: Mapping[str, Callable[[NDArray[Any], NDArray[Any]], Score]] = MappingProxyType(
    {**METRICS, "voc_map11": partial(voc_map11, resamples=0)}
)
"""The same values for choosing a hyperparameter, without a bootstrap for each candidate."""

__all__ = [
    "METRICS",
    "SELECTION",
    "Score",
    "correct",
    "episode_mean",
    "mean_per_class",
    "top1",
    "voc_map11",
    "voc_map11_resampled",
]
