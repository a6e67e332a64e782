"""Every calibration score of one set of decisions, on one set of resamples: what a record of recognition holds of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.calibration import (
    binned_error,
    binned_maximum,
    confidences,
    equal_mass_bins,
    equal_width_bins,
    reliability_table,
    squares,
    surprise,
)
from sslbench.metrics.resampling import pooled_scores
from sslbench.metrics.score import Score
from sslbench.metrics.temperature import FOLDS, fit_temperature, fold_scaled, folds, scaled

Decided = tuple[NDArray[Any], NDArray[np.integer[Any]]]
"""Decision values (N, K) and the classes (N,) of the same items."""


@dataclass(frozen=True)
class Calibration:
    """scores: by name. resampled: each one's values on the resamples (R,).

    temperatures: what was fitted for the scaled scores, by their name: one number, or one a fold. reliability: the
    `reliability_table` (15, 4).
    """

    scores: Mapping[str, Score]
    resampled: Mapping[str, NDArray[np.float64]]
    temperatures: Mapping[str, float | list[float]]
    reliability: NDArray[np.float64]


def calibration_scores(
    decision: NDArray[Any], targets: NDArray[np.integer[Any]], validation: Decided | None = None
) -> Calibration:
    """`ece`, `ace`, `mce`, `brier` and `nll` of the test items, and the expected calibration error at fitted temperatures.

    `ece_scaled` has those of the study's folds of the test items and is left out below five items; `ece_scaled_val` has the one
    fitted on validation, where that is given, and is of all test items. Each is as the function in `sslbench.metrics.calibration`
    or `sslbench.metrics.temperature` that is called after it.

    Args:
        decision: (N, K) real decision values on the test items.
        targets: (N,) integer classes in [0, K).
        validation: the same of items that were neither learned from nor are test items, with the same K.

    Raises:
        ValueError: as `sslbench.metrics.classification.correct` for either, or validation of another number of classes.
    """
    confidence, right = confidences(decision, targets)
    parts = {
        "ece": binned_error(confidence, right, equal_width_bins(confidence)),
        "ace": binned_error(confidence, right, equal_mass_bins(confidence)),
        "mce": binned_maximum(confidence, right),
        "brier": squares(decision, targets),
        "nll": surprise(decision, targets),
    }
    temperatures: dict[str, float | list[float]] = {}
    if len(targets) >= FOLDS:
        parts["ece_scaled"], temperatures["ece_scaled"] = fold_scaled(decision, targets)
    if validation is not None:
        given, classes = np.shape(validation[0]), np.shape(decision)[1]
        if given[1:] != (classes,):
            raise ValueError(f"validation: expected decision values (N, {classes}), as on the test items, got {given}")
        temperature = fit_temperature(*validation)
        parts["ece_scaled_val"], temperatures["ece_scaled_val"] = scaled(decision, targets, temperature), temperature
    found = pooled_scores(parts)
    scores = {name: score for name, (score, _) in found.items()}
    if "ece_scaled" in scores:
        scores["ece_scaled"] = replace(scores["ece_scaled"], n=folds(len(targets)).size)
    resampled = {name: values for name, (_, values) in found.items()}
    return Calibration(scores, resampled, temperatures, reliability_table(decision, targets))
