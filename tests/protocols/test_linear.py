"""The linear probe by either solver: against a plain loop over C, two classes, several labels, and what it refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from sslbench.errors import DataError
from sslbench.logistic import softmax_path
from sslbench.metrics import METRICS, MetricSpec, voc_map11
from sslbench.protocols import _linear_solvers, linear
from sslbench.protocols.base import Labelled
from sslbench.protocols.linear import Linear

SOLVERS = ("path", "sklearn")


def probe(solver: str, **choices: str) -> Linear:
    return Linear(compat={"linear-solver": solver, **choices})


def clusters(classes: int, per_class: int, seed: int, spread: float = 1.5, dim: int = 6) -> Labelled:
    """Overlapping Gaussian clusters with the same centres for every seed."""
    centres = np.random.default_rng(0).normal(size=(classes, dim))
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.repeat(np.arange(classes), per_class))
    x = centres[targets] + spread * rng.normal(size=(len(targets), dim))
    return Labelled(torch.from_numpy(x).float(), targets.astype(np.int64))


def study_loop(train: Labelled, val: Labelled) -> tuple[float, float, LogisticRegression]:
    """The study's rule by hand for three classes or more: accuracy by argmax, ties to the larger C, warm starts."""
    model = LogisticRegression(max_iter=100, tol=1e-4, warm_start=True)
    x, x_val = train.x.double().numpy(), val.x.double().numpy()
    scores = []
    cs = [1 / float(weight) for weight in np.logspace(-6, 5, 45, dtype=np.float32)]
    assert cs == sorted(cs, reverse=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for c in cs:
            model.C = c
            model.fit(x, train.targets)
            scores.append(100 * float(np.mean(model.predict(x_val) == val.targets)))
        best = int(np.argmax(scores))  # argmax takes the first of equal scores: the largest C
        model.C = cs[best]
        model.fit(np.vstack([x, x_val]), np.hstack([train.targets, val.targets]))
    return cs[best], scores[best], model


@pytest.mark.parametrize("seed", [1, 2])
def test_equals_the_loop_over_c(seed: int) -> None:
    train, val, test = (clusters(4, size, 10 * seed + size) for size in (20, 8, 15))
    predictor = probe("sklearn").learn(train, val, num_classes=4, metric=METRICS["top1"])
    best_c, best_score, model = study_loop(train, val)
    assert predictor.hyperparameters["C"] == pytest.approx(best_c, rel=1e-12)
    assert predictor.hyperparameters["val_score"] == pytest.approx(best_score)
    np.testing.assert_allclose(predictor.decide(test.x), model.decision_function(test.x.double().numpy()), atol=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_tie_goes_to_the_weakest_penalty(solver: str) -> None:
    # Clusters so far apart that every C is right on all of val.
    train, val = clusters(3, 10, 1, spread=0.01), clusters(3, 5, 2, spread=0.01)
    predictor = probe(solver).learn(train, val, num_classes=3, metric=METRICS["top1"])
    assert predictor.hyperparameters["val_score"] == 100.0
    assert predictor.hyperparameters["C"] == pytest.approx(1e6, rel=1e-6)


@pytest.mark.parametrize(("solver", "atol"), [("path", 0.02), ("sklearn", 1e-4)])
def test_the_refit_uses_validation_images(solver: str, atol: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "PENALTIES", np.array([1.0]))
    monkeypatch.setattr(_linear_solvers, "TOLERANCE", 1e-10)
    monkeypatch.setattr(_linear_solvers, "MAX_ITERATIONS", 5000)
    train, val, test = (clusters(3, size, size) for size in (15, 10, 7))
    predictor = probe(solver).learn(train, val, num_classes=3, metric=METRICS["top1"])
    both = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(
        torch.cat([train.x, val.x]).double().numpy(), np.concatenate([train.targets, val.targets])
    )
    expected = both.decision_function(test.x.double().numpy())
    # A softmax is blind to what is added to all its rows.
    decisions = predictor.decide(test.x)
    decisions += (expected - decisions).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(decisions, expected, atol=atol)
    train_only = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(train.x.double().numpy(), train.targets)
    assert np.abs(predictor.decide(test.x) - train_only.decision_function(test.x.double().numpy())).max() > 0.05


@pytest.mark.parametrize("selection", ["best", "one-stderr"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_validation_is_decided_by_the_chosen_probe_on_train_alone(solver: str, selection: str) -> None:
    train, val = clusters(4, 20, 20), clusters(4, 8, 18)
    metric = METRICS["top1"]
    predictor = probe(solver, **{"linear-selection": selection}).learn(train, val, num_classes=4, metric=metric)
    scanned = list(probe(solver)._solver(4, multi_label=False).scan(train, val.x))
    (index,) = np.flatnonzero(np.isclose(1 / linear.PENALTIES, predictor.hyperparameters["C"]))
    assert predictor.validation is not None
    decision, targets = predictor.validation
    np.testing.assert_allclose(decision, scanned[index], atol=1e-6)
    assert targets.tolist() == val.targets.tolist()
    assert metric(decision, targets).value == predictor.hyperparameters["val_score"]


def test_several_labels_have_no_validation_to_calibrate_on() -> None:
    train, val = several(30, 1), several(20, 2)
    assert Linear().learn(train, val, num_classes=3, metric=METRICS["voc_map11"]).validation is None


def test_two_classes_equal_binary_regression_at_twice_c() -> None:
    train, val, test = (clusters(2, size, size, spread=2.0) for size in (25, 12, 9))
    predictor = probe("sklearn").learn(train, val, num_classes=2, metric=METRICS["top1"])
    model = LogisticRegression(max_iter=100, tol=1e-4, warm_start=True)
    x, x_val, best, best_c = train.x.double().numpy(), val.x.double().numpy(), -1.0, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for weight in np.logspace(-6, 5, 45, dtype=np.float32):
            model.C = 2 / float(weight)
            accuracy = float(np.mean(model.fit(x, train.targets).predict(x_val) == val.targets))
            if accuracy > best:
                best, best_c = accuracy, 1 / float(weight)
        model.C = 2 * best_c
        model.fit(np.vstack([x, x_val]), np.hstack([train.targets, val.targets]))
    margin = model.decision_function(test.x.double().numpy())
    decisions = predictor.decide(test.x)
    assert predictor.hyperparameters["C"] == pytest.approx(best_c, rel=1e-12)
    assert decisions.shape == (len(test.targets), 2)
    np.testing.assert_allclose(decisions[:, 1] - decisions[:, 0], margin, atol=1e-10)


@pytest.mark.parametrize(("solver", "atol"), [("path", 0.02), ("sklearn", 1e-3)])
@pytest.mark.parametrize("c", [0.03, 1.0])
def test_two_classes_equal_the_two_row_softmax_at_c(
    c: float, solver: str, atol: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "PENALTIES", np.array([1 / c]))
    monkeypatch.setattr(_linear_solvers, "TOLERANCE", 1e-10)
    monkeypatch.setattr(_linear_solvers, "MAX_ITERATIONS", 5000)
    train, val, test = (clusters(2, size, size, spread=2.0) for size in (25, 12, 9))
    x = torch.cat([train.x, val.x]).double().numpy()
    y = np.concatenate([train.targets, val.targets])

    def softmax_rows(flat: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        rows = flat.reshape(2, -1)
        return inputs @ rows[:, :-1].T + rows[:, -1]

    def objective(flat: np.ndarray) -> float:
        logits = softmax_rows(flat, x)
        loss = np.logaddexp(logits[:, 0], logits[:, 1]) - logits[np.arange(len(y)), y]
        return float(c * loss.sum() + 0.5 * np.square(flat.reshape(2, -1)[:, :-1]).sum())

    solution = minimize(objective, np.zeros(2 * (x.shape[1] + 1)), method="BFGS", options={"gtol": 1e-7}).x
    predictor = probe(solver).learn(train, val, num_classes=2, metric=METRICS["top1"])
    expected = softmax_rows(solution, test.x.double().numpy())
    decisions = predictor.decide(test.x)
    np.testing.assert_allclose(decisions[:, 1] - decisions[:, 0], expected[:, 1] - expected[:, 0], atol=atol)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_record_tells_how_well_it_was_solved(solver: str) -> None:
    train, val = clusters(3, 12, 1), clusters(3, 6, 2)
    told = probe(solver).learn(train, val, num_classes=3, metric=METRICS["top1"]).hyperparameters
    assert told["solver"] == solver
    if solver == "path":
        assert told["unconverged"] == 0
        assert 0 < told["gap"] <= 1e-4
    else:
        assert 0 <= told["unconverged"] <= 45
        assert isinstance(told["refit_converged"], bool)


def several(per_class: int, seed: int, absent: int = 0) -> Labelled:
    """Three labels that do not exclude each other. absent: what stands for a doubtful absence, 0 or -1."""
    data = clusters(4, per_class, seed)
    targets = np.stack([data.targets % 2 == 1, data.targets >= 2, data.targets != 0], axis=1).astype(np.int8)
    targets[::7][targets[::7] == 0] = absent
    return Labelled(data.x, targets)


@pytest.mark.parametrize(("solver", "atol"), [("path", 0.02), ("sklearn", 1e-3)])
@pytest.mark.parametrize(("choice", "factor"), [("binary-softmax", 2.0), ("binary", 1.0)])
@pytest.mark.parametrize("absent", [0, -1])
def test_several_labels_are_one_binary_problem_each(
    solver: str, atol: float, choice: str, factor: float, absent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "PENALTIES", np.array([1.0]))
    monkeypatch.setattr(_linear_solvers, "TOLERANCE", 1e-10)
    monkeypatch.setattr(_linear_solvers, "MAX_ITERATIONS", 5000)
    train, val, test = several(20, 1, absent), several(8, 2, absent), several(15, 3)
    predictor = probe(solver, **{"voc2007-penalty": choice}).learn(
        train, val, num_classes=3, metric=METRICS["voc_map11"]
    )
    got = predictor.decide(test.x)
    assert got.shape == (60, 3)
    x, y = torch.cat([train.x, val.x]).double().numpy(), np.concatenate([train.targets, val.targets])
    for label in range(3):
        judged = y[:, label] >= 0
        assert judged.all() == (absent == 0)
        model = LogisticRegression(C=factor, tol=1e-10, max_iter=5000).fit(x[judged], y[judged, label])
        expected = model.decision_function(test.x.double().numpy())
        np.testing.assert_allclose(got[:, label], expected, atol=atol)


def test_one_c_for_all_labels_by_the_mean_over_them() -> None:
    train, val = several(20, 9), several(8, 10)
    predictor = probe("path").learn(train, val, num_classes=3, metric=METRICS["voc_map11"])
    x, x_val = train.x.double().numpy(), val.x.double().numpy()
    curves = []
    for label in range(3):
        models = (
            LogisticRegression(C=2 / w, tol=1e-8, max_iter=5000).fit(x, train.targets[:, label])
            for w in linear.PENALTIES
        )
        decisions = [model.decision_function(x_val) for model in models]
        curves.append([voc_map11(d[:, None], val.targets[:, [label]]).value for d in decisions])
    means = np.mean(curves, axis=0)
    chosen = int(np.argmin(np.abs(np.log(predictor.hyperparameters["C"] * linear.PENALTIES))))
    assert predictor.hyperparameters["C"] == pytest.approx(1 / linear.PENALTIES[chosen])
    assert means[chosen] == pytest.approx(means.max(), abs=0.5)
    assert predictor.hyperparameters["val_score"] == pytest.approx(means[chosen], abs=0.5)
    # Each label by itself would choose another.
    assert any(curve[chosen] < max(curve) - 1 for curve in curves)


@pytest.mark.parametrize("metric", [METRICS["top1"], METRICS["map"]], ids=["top1", "map"])
def test_one_standard_error_below_the_best_the_strongest_penalty_is_taken(metric: MetricSpec) -> None:
    train, val = clusters(4, 30, 1), clusters(4, 10, 2)
    path = softmax_path(train.x, train.targets, linear.PENALTIES)
    scores = [metric(d.double().numpy(), val.targets) for d in path.decision(val.x)]
    values = np.array([score.value for score in scores])
    best = scores[int(values.argmax())]
    strongest = int(np.flatnonzero(values >= best.value - best.stderr).max())
    told = (
        probe("path", **{"linear-selection": "one-stderr"})
        .learn(train, val, num_classes=4, metric=metric)
        .hyperparameters
    )
    assert told["C"] == pytest.approx(1 / linear.PENALTIES[strongest])
    assert told["val_score"] == pytest.approx(values[strongest])
    plain = probe("path").learn(train, val, num_classes=4, metric=metric).hyperparameters
    assert plain["C"] == pytest.approx(1 / linear.PENALTIES[int(values.argmax())])
    assert told["C"] < plain["C"]


def test_a_label_without_negative_images_is_named() -> None:
    train, val = several(10, 1), several(5, 2)
    train.targets[:, 1] = 1
    with pytest.raises(DataError, match=r"the training split has no image without the class '1'; add"):
        Linear().check_targets(train.targets, val.targets, ("0", "1", "2"))


def test_a_class_without_training_images_is_named() -> None:
    train, val = clusters(4, 5, 1), clusters(4, 5, 2)
    with pytest.raises(DataError, match=r"the training split has no image with the class '2'; add"):
        Linear().check_targets(train.targets[train.targets != 2], val.targets, ("0", "1", "2", "3"))


def test_all_classes_that_cannot_be_trained_are_named() -> None:
    names = ["ant", "bee", "cat", "dog"]
    with pytest.raises(DataError, match=r"no image with the classes 'ant', 'cat', 'dog'; add images or leave"):
        Linear().check_targets(np.array([1, 1]), np.array([0]), names)
    marks = np.array([[1, 0, 1, -1], [1, 0, 0, 1]])
    with pytest.raises(
        DataError, match=r"no image with the class 'bee' and no image without the classes 'ant', 'dog'; "
    ):
        Linear().check_targets(marks, marks, names)
    Linear().check_targets(np.arange(4), np.array([0]), names)
    Linear().check_targets(np.array([[1, 0, 1, 0], [0, 1, 0, 1]]), marks, names)


def test_a_variant_is_refused() -> None:
    with pytest.raises(DataError, match="no variant 'x'"):
        Linear("x")
