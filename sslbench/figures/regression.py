"""A line through points and the band in which it lies with 95 % confidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def regression_band(x: ArrayLike, y: ArrayLike, at: ArrayLike) -> tuple[Array, Array]:
    """The least-squares line at some places, and half the width of the 95 % confidence band of its mean there.

    line +- t sqrt(s^2 (1 / n + (at - mean x)^2 / sum (x - mean x)^2)), s^2 = sum of squared residuals / (n - 2), t the 97.5 %
    quantile of Student's t with n - 2 degrees of freedom: pointwise, for normal residuals of one variance.

    Args:
        x, y: (n,), n of at least 3, x not all equal.
        at: (m,).

    Raises:
        ValueError: fewer points, or all at one x.
    """
    from scipy.special import stdtrit

    first, second, places = (np.asarray(values, dtype=np.float64) for values in (x, y, at))
    if len(first) < 3 or np.ptp(first) == 0:
        raise ValueError(f"a band takes 3 points at different places, got {len(first)} at {np.unique(first).size}")
    n, centre = len(first), first.mean()
    spread = float(np.sum((first - centre) ** 2))
    slope = float(np.sum((first - centre) * (second - second.mean()))) / spread
    residuals = second - second.mean() - slope * (first - centre)
    variance = float(np.sum(residuals**2)) / (n - 2)
    half = stdtrit(n - 2, 0.975) * np.sqrt(variance * (1 / n + (places - centre) ** 2 / spread))
    return second.mean() + slope * (places - centre), half
