"""Least squares for many penalties, against scikit-learn."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from sslbench.errors import DataError, FeatureError
from sslbench.logistic import least_squares
from sslbench.logistic.features import Source
from sslbench.logistic.least_squares import least_squares_path

LAMBDAS = [1e-3, 1.0, 1e4]


def problem(n: int = 300, d: int = 12, r: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    # Far from the origin, columns of different size, and one that is nearly another.
    x = generator.normal(size=(n, d)) * np.logspace(-2, 1, d) + 50
    x[:, 1] = x[:, 0] + 1e-3 * generator.normal(size=n)
    y = x[:, :r] + generator.normal(size=(n, r)) - 7
    return x.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize("shape", [(300, 12), (9, 12)])
def test_it_is_ridge_regression(shape: tuple[int, int]) -> None:
    x, y = problem(*shape)
    found = least_squares_path(torch.from_numpy(x), torch.from_numpy(y), LAMBDAS)
    assert found.lambdas.tolist() == LAMBDAS
    for number, penalty in enumerate(LAMBDAS):
        oracle = Ridge(alpha=penalty, solver="svd").fit(x.astype(np.float64), y.astype(np.float64))
        np.testing.assert_allclose(found.coef[number], oracle.coef_, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found.intercept[number], oracle.intercept_, rtol=1e-5, atol=1e-5)


def test_parts_pieces_and_maps_of_files_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = problem()
    whole = least_squares_path(torch.from_numpy(x), torch.from_numpy(y), LAMBDAS)
    monkeypatch.setattr(least_squares, "Source", partial(Source, chunk_bytes=4 * 12 * 17))
    np.save(tmp_path / "x.npy", x[:100])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    parts = least_squares_path([mapped, torch.from_numpy(x[100:])], torch.from_numpy(y), LAMBDAS, device="cpu")
    torch.testing.assert_close(parts.coef, whole.coef, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(parts.intercept, whole.intercept, rtol=1e-6, atol=1e-6)


def test_what_cannot_be_used() -> None:
    x, y = (torch.from_numpy(each) for each in problem())
    for odd in (y[:-1], y[:, 0], torch.full_like(y, torch.nan)):
        with pytest.raises(DataError, match=r"y: expected finite numbers \(300, r\)"):
            least_squares_path(x, odd, LAMBDAS)
    with pytest.raises(DataError, match="lambdas"):
        least_squares_path(x, y, [0.0])
    with pytest.raises(FeatureError, match="finite"):
        least_squares_path(torch.where(x == x[3, 3], torch.inf, x), y, LAMBDAS)
