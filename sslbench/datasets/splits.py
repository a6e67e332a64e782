"""Deterministic splits: stratified ones of our own, and the study's random validation split."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def stratified(
    targets: npt.NDArray[np.int64], fractions: tuple[float, ...], seed: int
) -> tuple[npt.NDArray[np.int64], ...]:
    """Split row indices into parts that each hold every class in proportion.

    targets: (N,). fractions: sum to 1; one part each, at least one row of every class with enough rows.
    Returns sorted index arrays. The draw depends on `seed` and the targets only.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    parts: list[list[npt.NDArray[np.int64]]] = [[] for _ in fractions]
    bounds = np.cumsum(fractions)[:-1]
    for label in np.unique(targets):
        rows = rng.permutation(np.flatnonzero(targets == label))
        cuts = np.rint(bounds * len(rows)).astype(int)
        if len(rows) >= len(fractions):
            # Rounding must not empty a part: each part keeps at least one row of the class.
            low = np.arange(1, len(cuts) + 1)
            cuts = np.clip(cuts, low, len(rows) - low[::-1])
        for part, chunk in zip(parts, np.split(rows, cuts), strict=True):
            part.append(chunk)
    return tuple(np.sort(np.concatenate(part)) for part in parts)


def study_validation(size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Train and validation rows as the study drew them where a dataset has no validation split of its own.

    NumPy's legacy generator with seed 0 shuffles range(size); the first floor(0.2 size) rows are validation, the rest
    train, both in drawn order (ssl-transfer `linear.py`). The draw depends on the number of rows only, so that which
    images it takes depends on their official order.
    """
    rows = np.arange(size, dtype=np.int64)
    np.random.RandomState(0).shuffle(rows)
    cut = int(np.floor(0.2 * size))
    return rows[cut:], rows[:cut]
