"""Scores of features by themselves: how many directions they use, how they spread, and what stays together within a class.

None of them says how well a task is solved. x is (N, D) in all functions, one row a picture, and is computed with in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.resampling import Scale, resampled_score
from sslbench.metrics.score import Score

MAIN = "rankme"
GROUPS = 40
"""Of rows that the jackknife leaves out one after the other; the standard error is then itself known to about 11 %."""
_SEED = 2007
# Of RankMe and of LiDAR, as their papers have them.
_EPSILON, _RIDGE = 1e-7, 1e-4
# The authors of alpha-ReQ fit the eigenvalues of these ranks, counted from 1, where there are as many.
_FIRST, _LAST = 4, 100
_CHUNK = 1 << 22

Array = NDArray[np.float64]


def rankme(x: NDArray[Any]) -> float:
    """exp of the entropy of the singular values' shares, of features as they are, between 1 and min(N, D).

    Garrido et al. 2023 (arXiv 2210.02885), equation 1, with 1e-7 added to each share.
    """
    return _rankme(*_moments(_rows(x)))


def effective_rank(x: NDArray[Any]) -> float:
    """exp of the entropy of the singular values' shares, of centred features (Roy and Vetterli 2007).

    Between 1, a collapse onto a line, and the width of the features; nan where all rows are equal.
    """
    return _effective_rank(*_moments(_rows(x)))


def alpha_req(x: NDArray[Any]) -> float:
    """alpha of the power law k^-alpha that the covariance's eigenvalues follow by their rank k.

    Agrawal et al. 2022 (alpha-ReQ, NeurIPS), who find good features near 1. The line is fitted to the logarithms with weights 1/k
    (Stringer et al. 2019) over ranks 4 to 100, as the authors' code has it, or up to the last eigenvalue that is not rounding;
    nan where these are fewer than five.
    """
    return _alpha_req(*_moments(_rows(x)))


def uniformity(x: NDArray[Any], t: float = 2.0) -> float:
    """log of the mean of exp(-t |u - v|^2) over all pairs of rows, each brought to length 1; lower is more uniform.

    Wang and Isola 2020 (arXiv 2005.10242). Raises ValueError for a row of zeros, which has no direction.
    """
    units = _units(_rows(x))
    return float(_log_mean(_kernel_sums([units], t), [len(units)])[0])


def alignment(x: NDArray[Any], labels: NDArray[np.integer]) -> float:
    """The mean of |u - v|^2 over pictures u and others v of the same class, rows brought to length 1; lower is closer.

    Wang and Isola 2020 (arXiv 2005.10242) take two views of one picture as a pair; here any two pictures of a class are one. Each
    picture counts alike, and each of its partners. nan where no class has two pictures.
    """
    x = _rows(x)
    return _alignment(_units(x), _labels(labels, len(x)))


def lidar(x: NDArray[Any], labels: NDArray[np.integer]) -> float:
    """exp of the entropy of the eigenvalues' shares of W^-1/2 B W^-1/2, at most the number of classes less one.

    B is the covariance of the classes' means and W the mean covariance within a class, plus 1e-4 on its diagonal, each class
    counted alike. Thilak et al. 2024 (LiDAR, arXiv 2312.04000), who take the views of one picture as a class; here the data set's
    classes stand for these, so that labels are used and the figures are not those of the paper. Classes of one picture are left
    out; nan where fewer than two are left.
    """
    x = _rows(x)
    return _lidar(x, _labels(labels, len(x)))


@dataclass(frozen=True)
class Representation:
    """Scores by name. resampled: values (groups,) whose standard deviation is the score's standard error, for paired tests."""

    scores: dict[str, Score]
    resampled: dict[str, Array]


def representation_scores(x: NDArray[Any], labels: NDArray[np.integer] | None = None) -> Representation:
    """All of them, those of classes where there are labels, with standard errors of a delete-a-group jackknife.

    A bootstrap draws rows twice, which lowers ranks and pulls pairs together, so that its spread is of something else. Here each
    of 40 seeded groups of rows is left out once (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 11);
    groups depend on N alone, so that two backbones on the same pictures are paired. Ranks grow with N: they are comparable at
    equal N only, and the standard error says nothing of that.

    Raises ValueError for fewer than three rows, numbers that are not finite, rows of zeros, or labels of another number.
    """
    x = _rows(x)
    if len(x) < 3:
        raise ValueError(f"x: expected at least 3 rows to leave one out, got {len(x)}")
    labels = None if labels is None else _labels(labels, len(x))
    groups = np.array_split(np.random.default_rng(_SEED).permutation(len(x)), min(GROUPS, len(x)))
    whole = _moments(x)
    without: list[Mapping[str, float]] = []
    units = _units(x)
    spread = _log_mean(_kernel_sums([units[group] for group in groups], 2.0), [len(group) for group in groups])
    for number, group in enumerate([np.empty(0, dtype=np.int64), *groups]):
        count, total, gram = _moments(x[group])
        moments = (whole[0] - count, whole[1] - total, whole[2] - gram)
        found = {name: figure(*moments) for name, figure in _OF_MOMENTS.items()}
        found["uniformity"] = float(spread[number])
        if labels is not None:
            kept = np.delete(np.arange(len(x)), group)
            found["lidar"] = _lidar(x[kept], labels[kept])
            found["alignment"] = _alignment(units[kept], labels[kept])
        without.append(found)
    scored = {}
    for name, value in without[0].items():
        left_out = np.array([found[name] for found in without[1:]])
        # Stretched so that their standard deviation is the jackknife's standard error.
        stretch = (len(groups) - 1) / math.sqrt(len(groups))
        scored[name] = resampled_score(value, value + stretch * (left_out - left_out.mean()), len(x), SCALES[name])
    return Representation(
        {name: score for name, (score, _) in scored.items()}, {name: values for name, (_, values) in scored.items()}
    )


_RANK = Scale("dimensions", limits=(1.0, math.inf))
SCALES: Mapping[str, Scale] = {
    "rankme": _RANK,
    "effective_rank": _RANK,
    # The direction is nominal: neither a steep nor a flat spectrum is better by itself.
    "alpha_req": Scale("", higher_is_better=False, limits=(-math.inf, math.inf)),
    "uniformity": Scale("", higher_is_better=False, limits=(-8.0, 0.0)),
    "lidar": _RANK,
    "alignment": Scale("", higher_is_better=False, limits=(0.0, 4.0)),
}


def _rows(x: NDArray[Any]) -> Array:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2 or not x.shape[1]:
        raise ValueError(f"x: expected shape (N, D) with at least two rows, got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("x: expected finite numbers, got nan or inf")
    if not x.any():
        raise ValueError("x: expected features, got zeros alone")
    return x


def _labels(labels: NDArray[np.integer], rows: int) -> NDArray[np.integer]:
    labels = np.asarray(labels)
    if labels.shape != (rows,):
        raise ValueError(f"labels: expected shape ({rows},), a class a row, got {labels.shape}")
    return labels


def _units(x: Array) -> Array:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if (zeros := np.flatnonzero(lengths == 0)).size:
        raise ValueError(f"x: expected rows with a direction, got zeros alone in row {zeros[0]}")
    units: Array = x / lengths
    return units


def _moments(x: Array) -> tuple[int, Array, Array]:
    """Number, sum (D,) and x^T x (D, D): groups of rows can be added and taken away."""
    return len(x), x.sum(axis=0), x.T @ x


def _eigenvalues(matrix: Array) -> Array:
    """Descending; what is rounding beside the largest is 0."""
    values = np.linalg.eigvalsh(matrix)[::-1]
    rounding = len(values) * np.finfo(np.float64).eps * max(values[0], 0.0)
    return np.where(values > rounding, values, 0.0)


def _centred(count: int, total: Array, gram: Array) -> Array:
    values = _eigenvalues(gram - np.outer(total, total) / count)
    # All that is left of equal rows is the rounding of the difference.
    return values if values[0] > 1e-12 * np.trace(gram) else np.zeros_like(values)


def _entropy_rank(values: Array, epsilon: float = 0.0) -> float:
    if not values.sum():
        return math.nan
    shares = values / values.sum() + epsilon
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _rankme(count: int, total: Array, gram: Array) -> float:
    singular = np.sqrt(_eigenvalues(gram))
    return _entropy_rank(singular[:count], _EPSILON)


def _effective_rank(count: int, total: Array, gram: Array) -> float:
    return _entropy_rank(np.sqrt(_centred(count, total, gram)))


def _alpha_req(count: int, total: Array, gram: Array) -> float:
    values = _centred(count, total, gram)[_FIRST - 1 : _LAST]
    values = values[values > 0]
    if len(values) < 5:
        return math.nan
    rank = np.arange(_FIRST, _FIRST + len(values))
    # The residuals are multiplied by these, whose squares are the weights.
    return -float(np.polyfit(np.log(rank), np.log(values), 1, w=1 / np.sqrt(rank))[0])


_OF_MOMENTS: Mapping[str, Callable[[int, Array, Array], float]] = {
    "rankme": _rankme, "effective_rank": _effective_rank, "alpha_req": _alpha_req,
}  # fmt: skip


def _kernel_sums(groups: list[Array], t: float) -> Array:
    """(G, G): the sum of exp(-t |u - v|^2) over u of one group and v of another, without the pairs of a row with itself."""
    sums = np.zeros((len(groups), len(groups)))
    for i, one in enumerate(groups):
        for j in range(i, len(groups)):
            step = max(1, _CHUNK // len(groups[j]))
            for start in range(0, len(one), step):
                products = one[start : start + step] @ groups[j].T
                sums[i, j] += np.exp(2 * t * (products - 1)).sum()
        # A row's distance to itself is 0.
        sums[i, i] -= len(one)
    return np.triu(sums) + np.triu(sums, 1).T


def _log_mean(sums: Array, sizes: list[int]) -> Array:
    """Uniformity of all groups together, then without each of them."""
    rows, each = sum(sizes), np.array(sizes)
    kept = np.append(rows, rows - each)
    left = sums.sum() - np.append(0.0, 2 * sums.sum(axis=1) - np.diagonal(sums))
    # One group alone is left out of nothing.
    counted = kept > 1
    means: Array = np.log(left[counted] / (kept * (kept - 1))[counted])
    return means


def _alignment(units: Array, labels: NDArray[np.integer]) -> float:
    total, pictures = 0.0, 0
    for label in np.unique(labels):
        of_class = units[labels == label]
        if (count := len(of_class)) > 1:
            length = float(np.square(of_class.sum(axis=0)).sum())
            # The sum over ordered pairs is 2 n^2 - 2 |sum|^2; each picture has n - 1 partners.
            total += (2 * count**2 - 2 * length) / (count - 1)
            pictures += count
    return total / pictures if pictures else math.nan


def _lidar(x: Array, labels: NDArray[np.integer]) -> float:
    from scipy.linalg import cholesky, solve_triangular

    names, counts = np.unique(labels, return_counts=True)
    names = names[counts > 1]
    if len(names) < 2:
        return math.nan
    means, within = [], np.zeros((x.shape[1], x.shape[1]))
    for name in names:
        of_class = x[labels == name]
        means.append(of_class.mean(axis=0))
        apart = of_class - means[-1]
        within += apart.T @ apart / len(apart)
    within = within / len(names) + _RIDGE * np.eye(x.shape[1])
    between = np.array(means) - np.mean(means, axis=0)
    # W^-1/2 B W^-1/2 has the eigenvalues of this, which is as wide as there are classes.
    half = solve_triangular(cholesky(within, lower=True), between.T, lower=True)
    return _entropy_rank(_eigenvalues(half.T @ half), _EPSILON)
