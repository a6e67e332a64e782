"""Checks of what callers hand in; each failure is one error that says what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sslbench.errors import DataError
from sslbench.probes.source import Features, matrices

Array = Tensor | npt.NDArray[Any]
Penalties = Sequence[float] | npt.NDArray[Any] | Tensor

# Certificates come from float32 products; below this they would measure rounding.
SMALLEST_TOLERANCE = 1e-5


def checked_device(device: str | torch.device | None, x: Features) -> torch.device:
    """The device to solve on: the given one, else that of the features."""
    if device is not None:
        return torch.device(device)
    first = matrices(x)[0]
    return first.device if isinstance(first, Tensor) else torch.device("cpu")


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


def checked_targets(y: Array, weights: Tensor | None, n: int) -> tuple[Tensor, Tensor | None]:
    """Positives, bool (r, n), and weights float32 (r, n) that are zero where a sample is left out, or None; on the CPU.

    y: (n, r). weights: (n,) or (n, r) or None.
    """
    values = np.asarray(_on_cpu(y))
    if values.ndim != 2 or len(values) != n or not values.shape[1] or not np.isin(values, (-1, 0, 1)).all():
        raise DataError(
            f"y: expected 1, 0 or -1 (left out) in shape ({n}, r) with r >= 1, one row for each row of x, got "
            f"{values.dtype} {values.shape}"
        )
    positive, counted = torch.from_numpy(values.T == 1), torch.from_numpy((values.T >= 0).astype(np.float32))
    if weights is not None:
        if weights.ndim == 2 and weights.shape != values.shape:
            raise DataError(f"sample_weight: expected shape ({n},) or {values.shape}, got {tuple(weights.shape)}")
        counted *= weights.T if weights.ndim == 2 else weights
    for name, of_kind in (("positive", positive), ("negative", ~positive)):
        without = (~(of_kind & (counted > 0)).any(dim=1)).nonzero()[:8, 0]
        if len(without):
            raise DataError(f"y: expected a {name} sample in every class, got none in classes {without.tolist()}")
    return positive, None if bool((counted == 1).all()) else counted


def checked_weights(sample_weight: Array | None, n: int, *, per_class: bool = False) -> Tensor | None:
    """float32 (n,), or (n, r) if weights may be per class, on the CPU; or None."""
    if sample_weight is None:
        return None
    weights = np.asarray(_on_cpu(sample_weight))
    fits = weights.shape == (n,) or (per_class and weights.ndim == 2 and len(weights) == n)
    if not fits or not np.issubdtype(weights.dtype, np.number):
        expected = f"({n},) or ({n}, r)" if per_class else f"({n},)"
        raise DataError(f"sample_weight: expected numbers of shape {expected}, got {weights.dtype} {weights.shape}")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise DataError("sample_weight: expected finite numbers that are not negative")
    return torch.from_numpy(weights.astype(np.float32))


def _on_cpu(values: object) -> object:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values
