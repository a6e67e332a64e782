"""What callers hand in: features in one or several matrices, read in pieces of bounded size, and checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sslbench.errors import DataError

Matrix = Tensor | npt.NDArray[Any]
Features = Matrix | Sequence[Matrix]

CHUNK_BYTES = 16 << 20


class Source:
    """Features (n, d) of any float dtype: a torch tensor on any device, or an array, which may be a memory map, or several of
    them one below the other, which spares the copy that joining them would take.

    Raises DataError unless they are non-empty real matrices of equal width, with `dimension` columns where that is given.
    """

    def __init__(self, x: Features, *, dimension: int | None = None, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._parts = matrices(x)
        for part in self._parts:
            _check(part)
        widths = [int(part.shape[1]) for part in self._parts]
        self.n, self.d = sum(len(part) for part in self._parts), widths[0]
        if len(set(widths)) > 1:
            raise DataError(f"features: expected matrices of equal width, got {widths} columns")
        if dimension not in (None, self.d):
            raise DataError(f"features: expected {dimension} columns, as the probe was fitted on, got {self.d}")
        self.chunk_rows = max(1, chunk_bytes // (4 * self.d))

    def chunks(self, device: torch.device) -> Iterator[tuple[int, Tensor]]:
        """First row and float32 values (rows, d) on the device, piece by piece."""
        first = 0
        for part in self._parts:
            for start in range(0, len(part), self.chunk_rows):
                yield first + start, _read(part, slice(start, start + self.chunk_rows), device)
            first += len(part)

    def every(self, step: int, device: torch.device) -> Tensor:
        """Every step-th row as float32 on the device."""
        found, first = [], 0
        for part in self._parts:
            found.append(_read(part, slice(-first % step, None, step), device))
            first += len(part)
        return torch.cat(found)


def matrices(x: Features) -> Sequence[Matrix]:
    """One or several matrices as several. Raises DataError for none."""
    parts = [x] if isinstance(x, Tensor | np.ndarray) else list(x) if isinstance(x, list | tuple) else []
    if not parts or not all(isinstance(part, Tensor | np.ndarray) for part in parts):
        raise DataError(
            f"features: expected a torch tensor or a numpy array, or a list of them, got {type(x).__name__}"
        )
    return parts


def _check(x: Matrix) -> None:
    floating = x.dtype.is_floating_point if isinstance(x, Tensor) else x.dtype in (np.float16, np.float32, np.float64)
    if x.ndim != 2 or 0 in x.shape or not floating:
        raise DataError(f"features: expected floats of shape (n, d) with n, d >= 1, got {x.dtype} {tuple(x.shape)}")


def _read(x: Matrix, rows: slice, device: torch.device) -> Tensor:
    # Copied, because torch takes no read-only memory, and a memory map is read best in one go.
    part = x[rows] if isinstance(x, Tensor) else torch.from_numpy(np.array(x[rows], order="C"))
    return part.detach().to(device=device, dtype=torch.float32)


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
