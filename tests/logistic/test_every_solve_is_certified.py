"""Random problems of every kind that features can pose: each penalty of a path and each refit ends certified."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from sslbench.logistic import Start, binary_path, softmax_path

from . import reference
from .problems import LAMBDAS, Problem

pytestmark = pytest.mark.usefixtures("solver")

WEAK_TO_STRONG = (0, 1, 4, 10, 16)


@pytest.fixture
def threads(seed: int) -> Iterator[int]:
    """One thread and two in turn."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 + seed % 2)
    yield 1 + seed % 2
    torch.set_num_threads(before)


def drawn(seed: int) -> tuple[Problem, str]:
    """Features of a random size, scale, distance from the origin and separation of the classes, and what they are."""
    rng = np.random.default_rng(seed)
    n, d, k = int(rng.choice([24, 60, 140])), int(rng.choice([6, 40, 300])), int(rng.choice([2, 3, 7]))
    scale, mean = float(rng.choice([1e-3, 0.05, 1, 10, 1e3])), float(rng.choice([0, 1, 5, 100]))
    signal, rectified = float(rng.choice([0, 0.3, 2])), bool(rng.random() < 0.5)
    y = np.arange(n) % k
    x = rng.normal(size=(n, d)) + signal * rng.normal(size=(k, d))[y] + mean
    x = (scale * (np.maximum(x, 0) if rectified else x)).astype(np.float32)
    return (x, y), f"{n} x {d}, {k} classes, scale {scale}, mean {mean}, signal {signal}, rectified {rectified}"


@pytest.mark.parametrize("seed", range(16))
def test_paths_and_refits(seed: int, threads: int) -> None:
    (x, y), told = drawn(seed)
    train = np.random.default_rng(seed).permutation(len(x)) < 0.7 * len(x)
    train[np.unique(y, return_index=True)[1]] = True
    classes = int(y.max()) + 1
    path = softmax_path(x[train], y[train], LAMBDAS, num_classes=classes)
    assert path.converged.all() and path.gap.isfinite().all(), told
    # The solution of a part is a bad start where the penalty is so weak that new samples are far on the wrong side.
    for index in WEAK_TO_STRONG:
        start = Start(path.coef[index], path.intercept[index], float(LAMBDAS[index]))
        refit = softmax_path(
            [x[train], x[~train]], np.concatenate([y[train], y[~train]]), [LAMBDAS[index]], start=start
        )
        assert refit.converged.all(), f"{told}, refit at {LAMBDAS[index]:.1e}"
        value = reference.objective(x, y, refit.coef[0], refit.intercept[0], float(LAMBDAS[index]))
        # Of the rounded features, whose mean of up to 100 times their spread float32 holds to five digits.
        assert refit.objective.item() == pytest.approx(float(value), rel=1e-3), told


@pytest.mark.parametrize("seed", range(100, 104))
def test_binary_problems(seed: int, threads: int) -> None:
    (x, y), told = drawn(seed)
    rng = np.random.default_rng(seed)
    targets = np.stack([y == 0, rng.random(len(y)) < 0.3, rng.random(len(y)) < 0.7], 1).astype(int)
    targets[0], targets[1] = 1, 0
    targets[2:5, 1] = -1
    half = len(y) // 2
    path = binary_path(x[:half], targets[:half], LAMBDAS)
    assert path.converged.all() and path.gap.isfinite().all(), told
    for index in WEAK_TO_STRONG:
        start = Start(path.coef[index], path.intercept[index], float(LAMBDAS[index]))
        assert binary_path(x, targets, [LAMBDAS[index]], start=start).converged.all(), told


def test_a_start_from_the_wrong_side() -> None:
    """Every label turned round: at each sample of the start the loss is straight, without curvature for a Newton step."""
    (x, y), _ = drawn(3)
    first = softmax_path(x, y, [1e-4])
    turned = (y + 1) % (int(y.max()) + 1)
    path = softmax_path(x, turned, [1e-4], start=Start(100 * first.coef[0], 100 * first.intercept[0], 1e-4))
    assert path.converged.all()
    cold = softmax_path(x, turned, [1e-4])
    assert path.objective.item() == pytest.approx(cold.objective.item(), rel=2e-4)


def test_scale_changes_the_penalty_by_its_square_and_nothing_else() -> None:
    (x, y), _ = drawn(4)
    plain, scaled = softmax_path(x, y, LAMBDAS), softmax_path(x * 2.0**9, y, LAMBDAS * 2.0**18)
    assert torch.equal(plain.objective, scaled.objective)
    assert torch.equal(plain.coef, scaled.coef * 2.0**9)
