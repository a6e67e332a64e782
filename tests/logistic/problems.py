"""Small problems of several kinds."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

LAMBDAS = np.logspace(-6, 5, 23)
Problem = tuple[np.ndarray, np.ndarray]


def digits() -> Problem:
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y


def gaussian(seed: int = 0, n: int = 400, d: int = 30, k: int = 4, noise: float = 2.0) -> Problem:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x, (x @ rng.standard_normal((d, k)) + noise * rng.standard_normal((n, k))).argmax(1)


def separable() -> Problem:
    return gaussian(noise=0.0)


def ill_conditioned() -> Problem:
    x, y = gaussian(seed=1)
    return x * np.logspace(1, -4, x.shape[1], dtype=np.float32), y


def imbalanced() -> Problem:
    rng = np.random.default_rng(2)
    y = np.minimum(rng.geometric(0.6, size=500) - 1, 4)
    y[:5] = np.arange(5)
    return (rng.standard_normal((500, 24)) + 0.8 * rng.standard_normal((5, 24))[y]).astype(np.float32), y


def wide() -> Problem:
    return gaussian(seed=3, n=70, d=180)


def far_from_origin() -> Problem:
    x, y = gaussian(seed=4)
    return x + 100, y


def degenerate_columns() -> Problem:
    x, y = gaussian(seed=5)
    return np.hstack([x, np.ones((len(x), 2), np.float32), x[:, :10]]), y


PROBLEMS = [digits, gaussian, separable, ill_conditioned, imbalanced, wide, far_from_origin, degenerate_columns]
