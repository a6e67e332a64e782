"""Metrics: pure functions from predictions and targets to a :class:`Score`."""

from __future__ import annotations

from sslbench.metrics.classification import correct, mean_per_class, top1
from sslbench.metrics.episodes import episode_mean
from sslbench.metrics.multilabel import voc_map11, voc_map11_resampled
from sslbench.metrics.ranking import auroc, auroc_resampled, average_precision, average_precision_resampled
from sslbench.metrics.registry import METRICS, MetricSpec, metric_spec, metrics_for
from sslbench.metrics.score import Score

__all__ = [
    "METRICS",
    "MetricSpec",
    "Score",
    "auroc",
    "auroc_resampled",
    "average_precision",
    "average_precision_resampled",
    "correct",
    "episode_mean",
    "mean_per_class",
    "metric_spec",
    "metrics_for",
    "top1",
    "voc_map11",
    "voc_map11_resampled",
]
