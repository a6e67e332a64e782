"""The multinomial path against scikit-learn, Newton's method and its own certificate, all in float64."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sslbench.errors import FeatureError
from sslbench.logistic import SoftmaxPath, Start, softmax_path

from . import reference
from .problems import LAMBDAS, PROBLEMS, Problem, digits, gaussian, separable

# The smallest objectives are float64 sums that scikit-learn itself minimises to about this.
ORACLE = 2e-6

pytestmark = pytest.mark.usefixtures("solver")


def objectives(path: SoftmaxPath, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Float64 objectives of the solutions, classes in use only."""
    used = np.unique(y)
    return np.array(
        [
            float(reference.objective(x, np.searchsorted(used, y), w[used], b[used], penalty, weights))
            for w, b, penalty in zip(path.coef, path.intercept, path.lambdas.tolist(), strict=True)
        ]
    )


def sklearn_objective(x: np.ndarray, y: np.ndarray, penalty: float, weights: np.ndarray | None = None) -> float:
    # Of two classes it fits the difference of the two rows: the same problem at twice C.
    two = len(np.unique(y)) == 2
    model = LogisticRegression(C=(2 if two else 1) / penalty, solver="newton-cholesky", tol=1e-10, max_iter=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x.astype(np.float64), y, sample_weight=weights)
    coef, intercept = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    if two:
        coef, intercept = torch.cat([-coef, coef]) / 2, torch.cat([-intercept, intercept]) / 2
    return float(reference.objective(x, y, coef, intercept, penalty, weights))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_certificate_holds_in_float64(problem: Callable[[], Problem]) -> None:
    x, y = problem()
    path = softmax_path(x, y, LAMBDAS)
    assert path.converged.all()
    actual = objectives(path, x, y)
    np.testing.assert_allclose(path.objective.numpy(), actual, rtol=5e-6)
    for penalty, value, gap in list(zip(path.lambdas.tolist(), actual, path.gap.tolist(), strict=True))[6::5]:
        least = sklearn_objective(x, y, penalty)
        assert value <= least * (1 + gap) + ORACLE * least, penalty
        assert value >= least * (1 - ORACLE), penalty


@pytest.mark.parametrize("problem", [separable, gaussian])
def test_weakest_penalties_against_newton(problem: Callable[[], Problem]) -> None:
    x, y = problem()
    x = x[:, :8]
    y = (x @ np.random.default_rng(0).standard_normal((8, 3))).argmax(1) if problem is separable else y
    path = softmax_path(x, y, [1e-6, 1e-3])
    for penalty, value, gap in zip([1e-6, 1e-3], objectives(path, x, y), path.gap.tolist(), strict=True):
        least = reference.optimum(x, y, penalty, classes=int(y.max()) + 1)
        assert least * (1 - ORACLE) <= value <= least * (1 + gap + ORACLE)


@pytest.mark.parametrize("problem", PROBLEMS[:5])
def test_validation_accuracy_is_that_of_the_optimum(problem: Callable[[], Problem]) -> None:
    x, y = problem()
    train = np.arange(len(x)) % 2 == 0
    lambdas = np.logspace(-2, 3, 6)
    decisions = softmax_path(x[train], y[train], lambdas, num_classes=int(y.max()) + 1, tol=1e-5).decision(x[~train])
    ours, theirs = [], []
    for penalty, decision in zip(lambdas, decisions, strict=True):
        ours.append(float((decision.argmax(1).numpy() == y[~train]).mean()))
        model = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-10, max_iter=500)
        theirs.append(float(model.fit(x[train].astype(np.float64), y[train]).score(x[~train], y[~train])))
    # One sample of these small splits is more than 0.2 points.
    assert max(ours) == pytest.approx(max(theirs), abs=max(0.002, 1.01 / (~train).sum()))


@pytest.mark.parametrize("seed", range(8))
def test_random_problems(seed: int, solver: str) -> None:
    rng = np.random.default_rng(100 + seed)
    n, d, k = int(rng.integers(5, 300)), int(rng.integers(1, 200)), int(rng.integers(2, 9))
    x = rng.standard_normal((n, d)) * 10 ** rng.uniform(-3, 3) + rng.normal(size=d) * 10 ** rng.uniform(-2, 1)
    y = rng.integers(k, size=n)
    y[:2] = 0, 1
    weights = rng.random(n) if seed % 2 else None
    path = softmax_path(x, y, LAMBDAS, num_classes=k + seed % 3, sample_weight=weights)
    # A few directions in float32 do not certify the weakest penalties of classes that are all but separable.
    assert path.converged[(1e-3 if solver == "directions" else 0) < LAMBDAS].all()
    np.testing.assert_allclose(objectives(path, x, y, weights), path.objective.numpy(), rtol=1e-5)
    # The optimum rises with the penalty.
    assert (np.diff(path.objective.numpy()) >= -1e-4 * path.objective.numpy()[1:]).all()
    for index in (8, 14):
        used = np.unique(y)
        least = sklearn_objective(x, np.searchsorted(used, y), float(LAMBDAS[index]), weights)
        assert path.objective[index] <= least * (1 + path.gap[index].item() + 5 * ORACLE)


def test_weights_count_samples() -> None:
    x, y = gaussian()
    repeats = np.random.default_rng(0).integers(0, 4, len(x))
    weighted = softmax_path(x, y, LAMBDAS, sample_weight=repeats)
    repeated = softmax_path(np.repeat(x, repeats, axis=0), np.repeat(y, repeats), LAMBDAS)
    np.testing.assert_allclose(weighted.objective, repeated.objective, rtol=2e-4)
    assert weighted.converged.all()
    value = sklearn_objective(x, y, float(LAMBDAS[10]), repeats)
    assert weighted.objective[10] == pytest.approx(value, rel=1e-4)


def test_unused_classes() -> None:
    x, y = gaussian()
    plain = softmax_path(x, y, LAMBDAS)
    spread = softmax_path(x, 2 * y + 1, LAMBDAS, num_classes=12)
    assert spread.coef.shape == (len(LAMBDAS), 12, x.shape[1])
    used = [1, 3, 5, 7]
    torch.testing.assert_close(spread.coef[:, used], plain.coef)
    unused = [c for c in range(12) if c not in used]
    assert (spread.coef[:, unused] == 0).all() and (spread.intercept[:, unused] == -torch.inf).all()
    assert all(set(decision.argmax(1).tolist()) <= set(used) for decision in spread.decision(x))


def test_order_and_repetition_of_penalties() -> None:
    x, y = gaussian()
    path = softmax_path(x, y, [1.0, 1e-3, 10.0, 1.0])
    assert path.lambdas.tolist() == [1.0, 1e-3, 10.0, 1.0]
    assert path.objective[1] < path.objective[0] < path.objective[2]
    assert torch.equal(path.coef[0], path.coef[3])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_and_kinds(dtype: type) -> None:
    x, y = (part[:400] for part in digits())  # sixteenths, exact in float16
    expected = softmax_path(x, y, LAMBDAS[::4])
    for features in (x.astype(dtype), torch.from_numpy(x.astype(dtype)), np.asfortranarray(x.astype(dtype))):
        path = softmax_path(features, torch.from_numpy(y), torch.from_numpy(LAMBDAS[::4]))
        torch.testing.assert_close(path.objective, expected.objective, rtol=1e-6, atol=0)


def test_bfloat16() -> None:
    x, y = digits()
    path = softmax_path(torch.from_numpy(x).bfloat16(), y, LAMBDAS[::4])
    torch.testing.assert_close(path.objective, softmax_path(x, y, LAMBDAS[::4]).objective, rtol=1e-6, atol=0)


def test_threads_change_nothing_beyond_the_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    # Beside busy programs the number of threads would change on the way.
    monkeypatch.setattr("sslbench.threads.run_and_wait", lambda: None)
    x, y = gaussian(n=120, d=70)
    before, objective = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            objective.append(softmax_path(x, y, LAMBDAS[12::5]).objective)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(objective[0], objective[1], rtol=1e-4, atol=0)
    assert torch.equal(objective[1], objective[2])


def test_thousand_classes() -> None:
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(1000), rng.integers(1000, size=200)])
    x = rng.standard_normal((1200, 16)) + rng.standard_normal((1000, 16))[y]
    path = softmax_path(x, y, [1e2, 1e1])
    assert path.converged.all()
    np.testing.assert_allclose(objectives(path, x, y), path.objective.numpy(), rtol=1e-5)


def test_start_saves_work_and_changes_no_optimum() -> None:
    x, y = gaussian(n=600, d=120, k=5)
    first = softmax_path(x[:500], y[:500], [1.0])
    start = Start(first.coef[0], first.intercept[0], 1.0)
    warm, cold = softmax_path(x, y, [1.0], start=start), softmax_path(x, y, [1.0])
    assert warm.converged.all() and cold.converged.all()
    assert warm.objective.item() == pytest.approx(cold.objective.item(), rel=2e-4)
    assert warm.work.flops < cold.work.flops


def test_ill_conditioned_and_all_but_separable() -> None:
    """Like the features of a small pretrained network: two directions of the classes far below the leading ones."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 40)) * np.logspace(1, -3, 40)
    y = (x[:, 18:] @ rng.standard_normal((22, 4)) / 0.02 + 0.2 * rng.standard_normal((300, 4))).argmax(1)
    path = softmax_path(x.astype(np.float32), y, LAMBDAS)
    assert path.converged[LAMBDAS > 1e-2].all()
    for index in (0, 6, 12):
        least = reference.optimum(x.astype(np.float32), y, float(LAMBDAS[index]), classes=4)
        actual = objectives(path, x.astype(np.float32), y)[index]
        assert actual <= least * (1 + path.gap[index].item() + 1e-5)


def test_what_cannot_be_reached_is_not_claimed() -> None:
    # Twelve orders of magnitude between the columns' variances: beyond float32.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 12)) * np.logspace(3, -3, 12)
    y = (x[:, :3] @ rng.standard_normal((3, 3)) + 500 * rng.standard_normal((100, 3))).argmax(1)
    path = softmax_path(x, y, [1e-5, 1e-3, 1.0], tol=1e-5)
    assert torch.equal(path.converged, path.gap <= 1e-5)
    for penalty, value, gap in zip(path.lambdas.tolist(), objectives(path, x, y), path.gap.tolist(), strict=True):
        least = reference.optimum(x, y, penalty, classes=3)
        assert value <= least * (1 + gap + ORACLE)


def test_features_whose_squares_overflow_are_told() -> None:
    x, y = gaussian(n=60, d=5)
    with pytest.raises(FeatureError, match=r"values whose squares float32 holds, got up to .*e\+2\d"):
        softmax_path(x * 1e22, y, LAMBDAS[:3])
