"""Decisions with a known truth about their probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Decided = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def softmax(decision: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    terms = np.exp(decision - decision.max(axis=1, keepdims=True))
    return np.asarray(terms / terms.sum(axis=1, keepdims=True))


def overconfident(seed: int, n: int = 600, k: int = 7) -> Decided:
    """Informative decisions whose probabilities are too sharp."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(k, size=n)
    return 2.5 * (rng.normal(size=(n, k)) + 1.2 * np.eye(k)[targets]), targets


def calibrated(seed: int, n: int, k: int = 5) -> Decided:
    """Classes drawn with the very probabilities that the decisions state."""
    rng = np.random.default_rng(seed)
    decision = 1.5 * rng.normal(size=(n, k))
    below = softmax(decision).cumsum(axis=1)
    return decision, np.minimum((rng.random((n, 1)) > below).sum(axis=1), k - 1)


def saturated(seed: int, n: int = 400) -> Decided:
    """Many confidences of exactly 1 and many equal ones, as votes of few neighbours have."""
    rng = np.random.default_rng(seed)
    shares = rng.multinomial(4, [0.7, 0.2, 0.1], size=n) / 4
    targets = np.where(rng.random(n) < 0.7, shares.argmax(axis=1), rng.integers(3, size=n))
    return np.where(shares > 0, np.log(np.maximum(shares, 1e-12)), -800.0), targets
