"""Independent binary problems against scikit-learn in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sslbench.logistic import BinaryPath, binary_path, softmax_path

from . import reference
from .problems import LAMBDAS

ORACLE = 2e-6

pytestmark = pytest.mark.usefixtures("solver")


def problem(seed: int = 0, n: int = 150, d: int = 70, r: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    logits = x @ rng.standard_normal((d, r)) / 3 + 2 * rng.standard_normal((n, r)) - np.arange(r)
    y = (logits > 0).astype(np.int64)
    y[0], y[1] = 1, 0
    return x, y


def check(path: BinaryPath, x: np.ndarray, y: np.ndarray, weights: np.ndarray, factor: float = 1.0) -> None:
    assert path.converged.all()
    for index in range(0, len(path.lambdas), 3):
        penalty = factor * float(path.lambdas[index])
        for c in range(y.shape[1]):
            ours = float(
                reference.binary_objective(
                    x, y[:, c] == 1, path.coef[index, c], path.intercept[index, c], penalty, weights[:, c]
                )
            )
            model = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-10, max_iter=300)
            model.fit(x.astype(np.float64), y[:, c] == 1, sample_weight=weights[:, c])
            coef, intercept = torch.from_numpy(model.coef_[0]), torch.from_numpy(model.intercept_)[0]
            least = float(reference.binary_objective(x, y[:, c] == 1, coef, intercept, penalty, weights[:, c]))
            assert ours == pytest.approx(path.objective[index, c].item(), rel=5e-6)
            assert least * (1 - ORACLE) <= ours <= least * (1 + path.gap[index, c].item() + ORACLE)


@pytest.mark.parametrize("d", [5, 70, 320])
def test_against_sklearn(d: int) -> None:
    x, y = problem(d=d)
    path = binary_path(x, y, LAMBDAS[8:])
    assert path.coef.shape == (len(LAMBDAS) - 8, 4, d)
    assert path.intercept.shape == path.objective.shape == path.gap.shape == (len(LAMBDAS) - 8, 4)
    check(path, x, y, np.ones(y.shape))


def test_weights_of_each_class_and_samples_left_out() -> None:
    x, y = problem(d=20)
    weights = np.random.default_rng(1).random(y.shape)
    weights[5:60, 1] = 0
    check(binary_path(x, y, LAMBDAS[8:], sample_weight=weights), x, y, weights)
    left_out = y.copy()
    left_out[5:60, 1] = -1
    expected = binary_path(x, y, LAMBDAS[8:], sample_weight=np.where(left_out < 0, 0, 1))
    torch.testing.assert_close(binary_path(x, left_out, LAMBDAS[8:]).coef, expected.coef)
    shared = binary_path(x, left_out, LAMBDAS[8:], sample_weight=weights[:, 0])
    check(shared, x, y, weights[:, :1] * (left_out >= 0))


def test_binary_softmax_is_the_two_row_softmax() -> None:
    x, y = problem(d=20, r=2)
    path = binary_path(x, y, LAMBDAS[8:], binary_softmax=True)
    check(path, x, y, np.ones(y.shape), factor=0.5)
    two_rows = softmax_path(x, y[:, 1], LAMBDAS[8:])
    torch.testing.assert_close(path.objective[:, 1], two_rows.objective, rtol=2e-4, atol=0)
    difference = two_rows.coef[:, 1] - two_rows.coef[:, 0]
    torch.testing.assert_close(path.coef[:, 1], difference, rtol=0, atol=0.05 * float(difference.abs().max()))


def test_problems_in_one_batch_equal_each_alone() -> None:
    x, y = problem(d=60)
    together = binary_path(x, y, LAMBDAS[8:])
    for c in range(y.shape[1]):
        alone = binary_path(x, y[:, [c]], LAMBDAS[8:])
        torch.testing.assert_close(together.objective[:, [c]], alone.objective, rtol=1e-4, atol=0)


def test_decision() -> None:
    x, y = problem()
    path = binary_path(x, y, [1e-2, 1.0])
    for values, coef, intercept in zip(path.decision(x), path.coef, path.intercept, strict=True):
        expected = torch.from_numpy(x).double() @ coef.double().T + intercept
        torch.testing.assert_close(values.double(), expected, rtol=1e-4, atol=1e-4)
