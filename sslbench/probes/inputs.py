"""Checks of what callers hand in; each failure is one error that says what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sslbench.errors import DataError
from sslbench.probes.source import Features

Array = Tensor | npt.NDArray[Any]
Penalties = Sequence[float] | npt.NDArray[Any] | Tensor

# Certificates come from float32 products; below this they would measure rounding.
SMALLEST_TOLERANCE = 1e-5


def checked_device(device: str | torch.device | None, x: Features) -> torch.device:
    """The device to solve on: the given one, else that of the features."""
    if device is not None:
        return torch.device(device)
    return x.device if isinstance(x, Tensor) else torch.device("cpu")


def checked_penalties(lambdas: Penalties) -> Tensor:
    """float64 (L,), positive and finite, on the CPU."""
    values = torch.as_tensor(np.asarray(_on_cpu(lambdas), dtype=np.float64))
    if values.ndim != 1 or not len(values) or not bool(((values > 0) & values.isfinite()).all()):
        raise DataError(f"lambdas: expected one or more positive finite numbers in one dimension, got {lambdas!r}")
    return values


def checked_tolerance(tol: float) -> float:
    """A relative gap that float32 can certify."""
    if not SMALLEST_TOLERANCE <= tol < 1:
        raise DataError(f"tol: expected a relative gap between {SMALLEST_TOLERANCE} and 1, got {tol!r}")
    return tol


def checked_labels(y: Array, n: int, num_classes: int | None) -> tuple[Tensor, int]:
    """int64 (n,) on the CPU and the number of classes."""
    labels = np.asarray(_on_cpu(y))
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"y: expected integers of shape ({n},), one for each row of x, got {labels.dtype} {labels.shape}"
        )
    classes = int(labels.max()) + 1 if num_classes is None else num_classes
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"y: expected classes from 0 to {classes - 1}, got {labels.min()} to {labels.max()}")
    return torch.from_numpy(labels.astype(np.int64)), classes


def checked_targets(targets: Array, n: int) -> tuple[Tensor, Tensor | None]:
    """Positives, bool (K, n), and float32 (K, n) that is zero where a sample is left out, or None; on the CPU."""
    values = np.asarray(_on_cpu(targets))
    if values.ndim != 2 or len(values) != n or not values.shape[1] or not np.isin(values, (-1, 0, 1)).all():
        raise DataError(
            f"targets: expected 1, 0 or -1 (left out) in shape ({n}, K) with K >= 1, one row for each row of x, got "
            f"{values.dtype} {values.shape}"
        )
    positive, counted = values.T == 1, values.T >= 0
    for name, of_kind in (("positive", positive), ("negative", values.T == 0)):
        without = np.flatnonzero(~of_kind.any(axis=1))
        if without.size:
            raise DataError(
                f"targets: expected a {name} sample in every class, got none in classes {without[:8].tolist()}"
            )
    weights = None if counted.all() else torch.from_numpy(counted.astype(np.float32))
    return torch.from_numpy(positive.copy()), weights


def checked_weights(sample_weight: Array | None, n: int) -> Tensor | None:
    """float32 (n,) on the CPU, or None."""
    if sample_weight is None:
        return None
    weights = np.asarray(_on_cpu(sample_weight))
    if weights.shape != (n,) or not np.issubdtype(weights.dtype, np.number):
        raise DataError(f"sample_weight: expected numbers of shape ({n},), got {weights.dtype} {weights.shape}")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise DataError("sample_weight: expected finite numbers that are not negative")
    return torch.from_numpy(weights.astype(np.float32))


def _on_cpu(values: object) -> object:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values
