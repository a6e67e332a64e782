"""Scores of features against definitions written out: SVD, double loops, a generalised eigenproblem, known spectra."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
from scipy.stats import entropy

from sslbench.metrics.representation import (
    alignment,
    alpha_req,
    effective_rank,
    lidar,
    rankme,
    representation_scores,
    uniformity,
)


def features(rows: int = 60, width: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, width)) @ np.diag(0.7 ** np.arange(width)) + rng.normal(size=width)


def labels(rows: int = 60, classes: int = 4) -> np.ndarray:
    return np.random.default_rng(9).integers(0, classes, rows)


def with_spectrum(values: np.ndarray, rows: int) -> np.ndarray:
    """Columns of mean 0 whose covariance has these eigenvalues times a constant."""
    rng = np.random.default_rng(1)
    left = rng.normal(size=(rows, len(values)))
    left, _ = np.linalg.qr(left - left.mean(axis=0))
    right, _ = np.linalg.qr(rng.normal(size=(len(values), len(values))))
    return left @ np.diag(np.sqrt(values)) @ right


@pytest.mark.parametrize(("rows", "width"), [(60, 12), (8, 20)])
def test_ranks_are_those_of_the_singular_values(rows: int, width: int) -> None:
    x = features(rows, width)
    values = np.linalg.svd(x, compute_uv=False)
    shares = values / values.sum() + 1e-7
    assert rankme(x) == pytest.approx(math.exp(-sum(shares * np.log(shares))), rel=1e-6)
    centred = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    assert effective_rank(x) == pytest.approx(math.exp(entropy(centred)), rel=1e-6)
    assert rankme(7 * x) == pytest.approx(rankme(x))


def test_ranks_of_known_spectra() -> None:
    assert rankme(np.eye(8).repeat(5, axis=0)) == pytest.approx(8, abs=1e-4)
    # Centring takes one direction away from the eight equal ones.
    assert effective_rank(np.eye(8).repeat(5, axis=0)) == pytest.approx(7)
    line = np.outer(np.linspace(-1, 3, 50), np.arange(1.0, 9))
    assert effective_rank(line) == pytest.approx(1, abs=1e-6)
    assert rankme(line) == pytest.approx(1, abs=1e-4)
    assert effective_rank(with_spectrum(np.array([1.0, 1, 1, 0, 0]), 30)) == pytest.approx(3)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.3])
@pytest.mark.parametrize("width", [20, 150])
def test_alpha_of_a_power_law(alpha: float, width: int) -> None:
    x = with_spectrum(np.arange(1, width + 1) ** -alpha, 200)
    assert alpha_req(x + 5) == pytest.approx(alpha, rel=1e-6)


def test_alpha_is_a_weighted_line_over_ranks_4_to_100() -> None:
    values = np.sort(np.random.default_rng(2).gamma(0.3, size=130) + 1e-3)[::-1]
    rank = np.arange(4, 101)
    design = np.stack([np.log(rank), np.ones(97)], axis=1) / np.sqrt(rank)[:, None]
    slope = np.linalg.lstsq(design, np.log(values[3:100]) / np.sqrt(rank), rcond=None)[0][0]
    assert alpha_req(with_spectrum(values, 300)) == pytest.approx(-slope, rel=1e-6)
    assert math.isnan(alpha_req(features(50, 7)))


@pytest.mark.parametrize("t", [2.0, 0.5])
def test_uniformity_by_a_double_loop(t: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslbench.metrics.representation._CHUNK", 100)
    x = features(25, 6)
    units = [row / np.linalg.norm(row) for row in x]
    pairs = [
        math.exp(-t * np.linalg.norm(u - v) ** 2) for i, u in enumerate(units) for j, v in enumerate(units) if i < j
    ]
    assert uniformity(x, t) == pytest.approx(math.log(np.mean(pairs)))
    assert uniformity(np.array([[1.0, 0], [-1, 0], [1, 0], [-1, 0]])) == pytest.approx(
        math.log((2 + 4 * math.exp(-8)) / 6)
    )
    assert uniformity(np.ones((5, 3))) == pytest.approx(0, abs=1e-12)


def test_alignment_by_a_double_loop() -> None:
    x, y = features(25, 6), np.array([0] * 3 + [1] * 10 + [2] * 11 + [3])
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    anchors = []
    for i in range(24):
        partners = [np.linalg.norm(units[i] - units[j]) ** 2 for j in range(25) if j != i and y[j] == y[i]]
        anchors.append(np.mean(partners))
    assert alignment(x, y) == pytest.approx(np.mean(anchors))
    assert math.isnan(alignment(x[:3], np.arange(3)))


def test_lidar_by_the_generalised_eigenproblem() -> None:
    x, y = features(), labels()
    x, y = np.concatenate([x, x[:1]]), np.append(y, 99)
    means = np.array([x[y == name].mean(axis=0) for name in range(4)])
    between = np.cov(means.T, bias=True)
    within = np.mean([np.cov(x[y == name].T, bias=True) for name in range(4)], axis=0) + 1e-4 * np.eye(12)
    values = scipy.linalg.eigh(between, within, eigvals_only=True)
    shares = np.sort(values)[::-1][:4].clip(0) / values.sum() + 1e-7
    # The picture of the class 99 has no partner.
    assert lidar(x, y) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-4)
    assert 1 < lidar(x, y) <= 3.001
    assert math.isnan(lidar(x, np.zeros(61, int)))


def test_classes_on_a_line_have_a_lidar_of_one() -> None:
    y = np.repeat(np.arange(5), 40)
    x = np.random.default_rng(3).normal(size=(200, 6)) * 0.01
    x[:, 2] += y
    assert lidar(x, y) == pytest.approx(1, abs=0.01)


SINGLE: dict[str, Callable[..., float]] = {
    "rankme": rankme, "effective_rank": effective_rank, "alpha_req": alpha_req, "uniformity": uniformity,
}  # fmt: skip
OF_CLASSES: dict[str, Callable[..., float]] = {"lidar": lidar, "alignment": alignment}


@pytest.mark.parametrize("rows", [61, 12])
def test_all_scores_with_the_jackknife_of_groups(rows: int) -> None:
    x, y = features(rows), labels(rows, 2)
    found = representation_scores(x, y)
    groups = np.array_split(np.random.default_rng(2007).permutation(rows), min(40, rows))
    for name, figure in {**SINGLE, **OF_CLASSES}.items():
        arguments = (x, y) if name in OF_CLASSES else (x,)
        score = found.scores[name]
        assert score.value == pytest.approx(figure(*arguments), rel=1e-6, nan_ok=True)
        left_out = np.array([figure(*(np.delete(each, group, axis=0) for each in arguments)) for group in groups])
        spread = np.square(left_out - left_out.mean()).sum() * (len(groups) - 1) / len(groups)
        assert score.stderr == pytest.approx(math.sqrt(spread), rel=1e-4), name
        assert found.resampled[name].std(ddof=1) == pytest.approx(score.stderr) and score.n == rows
    assert found.scores.keys() - representation_scores(x).scores.keys() == OF_CLASSES.keys()


def test_the_standard_error_is_the_spread_over_draws_of_pictures() -> None:
    classes, drawn = np.random.default_rng(5).normal(size=(3, 12)), []
    for seed in range(50):
        rng = np.random.default_rng(100 + seed)
        x = classes[rng.integers(0, 3, 90)] + rng.normal(size=(90, 12)) * np.geomspace(3, 0.1, 12)
        drawn.append(representation_scores(x).scores)
    for name in SINGLE:
        spread = np.std([scores[name].value for scores in drawn], ddof=1)
        assert np.mean([scores[name].stderr for scores in drawn]) == pytest.approx(spread, rel=0.35), name


def test_equal_rows_are_a_collapse_that_has_no_spectrum() -> None:
    scores = representation_scores(np.tile([1.0, 2, 3], (9, 1)), np.arange(9) % 2).scores
    assert scores["rankme"].value == pytest.approx(1, abs=1e-4) and scores["uniformity"].value == pytest.approx(
        0, abs=1e-9
    )
    assert math.isnan(scores["effective_rank"].value) and math.isnan(scores["alpha_req"].value)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones(4), r"expected shape \(N, D\)"),
        (np.ones((2, 3)), "at least 3 rows"),
        (np.full((4, 2), np.inf), "finite numbers"),
        (np.zeros((4, 2)), "got zeros alone$"),
        (np.array([[1.0, 0], [0, 0], [1, 1], [2, 1]]), "zeros alone in row 1"),
    ],
)
def test_features_of_which_nothing_can_be_said(x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        representation_scores(x)


def test_labels_of_another_number_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"labels: expected shape \(60,\), a class a row, got \(59,\)"):
        representation_scores(features(), labels(59))
