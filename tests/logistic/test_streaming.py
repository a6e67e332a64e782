"""Features larger than the memory budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sslbench.errors import DataError
from sslbench.logistic import binary_path, softmax_path
from sslbench.logistic.features import Source
from sslbench.logistic.products import Rows
from sslbench.logistic.result import Work

from .problems import LAMBDAS, gaussian


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_memory_map_equals_memory(tmp_path: Path, dtype: type) -> None:
    x, y = gaussian(n=300, d=70)
    x = x.astype(dtype)
    x.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", dtype=dtype, mode="r", shape=x.shape)
    streamed, resident = softmax_path(mapped, y, LAMBDAS[10:], memory=100_000), softmax_path(x, y, LAMBDAS[10:])
    assert streamed.converged.all()
    torch.testing.assert_close(streamed.objective, resident.objective, rtol=1e-4, atol=0)
    multi = np.stack([y == 0, y == 1], 1).astype(int)
    streamed_binary = binary_path(mapped, multi, LAMBDAS[10:], memory=100_000)
    torch.testing.assert_close(
        streamed_binary.objective, binary_path(x, multi, LAMBDAS[10:]).objective, rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("resident", [0, 1 << 30])
@pytest.mark.parametrize("n", [7, 4510])
@pytest.mark.parametrize("width", [1, 3, 70])
def test_products(resident: int, n: int, width: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 40)).astype(np.float32) + 5
    rows = Rows(Source(x, chunk_bytes=4 * 40 * 100), torch.device("cpu"), Work(), resident_bytes=resident)
    centred = x.astype(np.float64) - x.astype(np.float64).mean(0)
    weights, residual = rng.standard_normal((width, 40)), rng.standard_normal((width, n))
    forward = rows.forward(torch.from_numpy(weights).float())
    adjoint = rows.adjoint(torch.from_numpy(residual).float())
    np.testing.assert_allclose(forward, weights @ centred.T, atol=1e-4)
    np.testing.assert_allclose(adjoint, residual @ centred, atol=2e-3)
    assert rows.energy == pytest.approx((centred**2).sum(), rel=1e-5)


@pytest.mark.parametrize("memory", [100_000, None])
def test_matrices_one_below_the_other(memory: int | None) -> None:
    x, y = gaussian(n=300, d=70)
    parts = [x[:110], torch.from_numpy(x[110:117]), x[117:]]
    joined, whole = softmax_path(parts, y, LAMBDAS[10:], memory=memory), softmax_path(x, y, LAMBDAS[10:], memory=memory)
    torch.testing.assert_close(joined.objective, whole.objective, rtol=2e-4, atol=0)
    both = zip(whole.decision(parts), whole.decision(x), strict=True)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in both)
    assert torch.equal(Source(parts).every(7, torch.device("cpu")), torch.from_numpy(x[::7]))


def test_matrices_of_different_width_are_refused() -> None:
    x, y = gaussian(n=300, d=70)
    with pytest.raises(DataError, match=r"equal width, got \[70, 60\] columns"):
        softmax_path([x[:200], x[200:, :60]], y, LAMBDAS)
