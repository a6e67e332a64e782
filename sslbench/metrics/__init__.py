"""Metrics: pure functions from predictions and targets to a :class:`Score`."""

from __future__ import annotations

from sslbench.metrics.angles import Angles
from sslbench.metrics.calibration import (
    adaptive_calibration_error,
    brier_score,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability_table,
)
from sslbench.metrics.classification import correct, mean_per_class, top1
from sslbench.metrics.dense import DenseScored, DenseScores
from sslbench.metrics.depth_errors import DepthErrors
from sslbench.metrics.detection import (
    Detections,
    DetectionScores,
    Truth,
    detection_scores,
    image_average_precision,
    precision_recall,
)
from sslbench.metrics.episodes import episode_mean
from sslbench.metrics.multilabel import voc_map11, voc_map11_resampled
from sslbench.metrics.overlap import Overlap
from sslbench.metrics.ranking import auroc, auroc_resampled, average_precision, average_precision_resampled
from sslbench.metrics.registry import METRICS, MetricSpec, metric_spec, metrics_for
from sslbench.metrics.score import Score
from sslbench.metrics.temperature import fit_temperature, fold_scaled_calibration_error, scaled_calibration_error

__all__ = [
    "METRICS",
    "Angles",
    "DenseScored",
    "DenseScores",
    "DepthErrors",
    "DetectionScores",
    "Detections",
    "MetricSpec",
    "Overlap",
    "Score",
    "Truth",
    "adaptive_calibration_error",
    "auroc",
    "auroc_resampled",
    "average_precision",
    "average_precision_resampled",
    "brier_score",
    "correct",
    "detection_scores",
    "episode_mean",
    "expected_calibration_error",
    "fit_temperature",
    "fold_scaled_calibration_error",
    "image_average_precision",
    "maximum_calibration_error",
    "mean_per_class",
    "metric_spec",
    "metrics_for",
    "negative_log_likelihood",
    "precision_recall",
    "reliability_table",
    "scaled_calibration_error",
    "top1",
    "voc_map11",
    "voc_map11_resampled",
]
