"""What a classifier confuses: counts of classes against each other, and the test pictures it is most wrong about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Confused(NamedTuple):
    """So many `pictures` of the class `true` were taken for `taken`, the fraction `share` of its pictures."""

    true: int
    taken: int
    pictures: int
    share: float


class Mistake(NamedTuple):
    """A test picture: its row among those that were scored, its class, and what it was taken for."""

    row: int
    true: int
    taken: int


def decisions_of(arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
    """Decision values (N, K) and classes (N,) among samples, of several trainings the first; None where there are none.

    Raises ValueError where they do not fit each other.
    """
    decision = arrays.get("decision", arrays.get("decision_seed0"))
    targets = arrays.get("targets")
    if decision is None or targets is None or targets.ndim != 1:
        return None
    if decision.ndim != 2 or len(decision) != len(targets) or not decision.size:
        raise ValueError(f"expected decisions (N, K) of {len(targets)} targets, got {decision.shape}")
    if not 0 <= targets.min() <= targets.max() < decision.shape[1]:
        raise ValueError(f"expected targets from 0 to {decision.shape[1] - 1}, got {targets.min()} to {targets.max()}")
    return decision, targets.astype(np.int64)


def confusion_matrix(decision: NDArray[Any], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (K, K), true classes down, what was decided across; the first largest decision value decides."""
    classes = decision.shape[1]
    counts = np.bincount(targets * classes + decision.argmax(axis=1), minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def most_confused(confusion: NDArray[np.int64], count: int) -> list[Confused]:
    """The `count` pairs of classes with the most mistakes, among equals those of the larger share of their class."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    totals = confusion.sum(axis=1)
    pairs = [
        Confused(true, taken, int(wrong[true, taken]), int(wrong[true, taken]) / int(totals[true]))
        for true, taken in np.argwhere(wrong).tolist()
    ]
    return sorted(pairs, key=lambda pair: (-pair.pictures, -pair.share, pair.true, pair.taken))[:count]


def worst_mistakes(decision: NDArray[Any], targets: NDArray[np.int64], count: int) -> list[Mistake]:
    """The `count` wrong decisions by the largest lead of what was decided over the true class, the largest first."""
    rows = np.arange(len(targets))
    decided = decision.argmax(axis=1)
    lead = decision[rows, decided].astype(np.float64) - decision[rows, targets]
    wrong = np.flatnonzero(decided != targets)
    worst = wrong[np.lexsort((wrong, -lead[wrong]))][:count]
    return [Mistake(row, int(targets[row]), int(decided[row])) for row in worst.tolist()]
