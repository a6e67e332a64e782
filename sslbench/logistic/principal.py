"""The features' leading principal directions: those that the solver keeps every class's weights free in, and the next."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.logistic.products import Rows

_OVERSAMPLING = 8
_SAMPLED_ROWS = 2048


def leading_directions(rows: Rows, count: int) -> tuple[Tensor, Tensor]:
    """At most `count` orthonormal directions (c, d), by descending variance, and the variances (c,): means of squares.

    By subspace iteration on a sample of rows (Halko, Martinsson and Tropp, "Finding structure with randomness",
    SIAM Review 53 (2011), algorithm 4.4) with a fixed seed, so the last ones are rough.
    """
    sample = rows.sample(_SAMPLED_ROWS)
    trial = min(count + _OVERSAMPLING, rows.d)
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(trial, rows.d, generator=generator).to(rows.device)
    for _ in range(2):
        basis = torch.linalg.qr(((basis @ sample.T) @ sample).T)[0].T
    coordinates = basis @ sample.T
    variances, rotation = torch.linalg.eigh((coordinates @ coordinates.T).double())
    rows.work.flops += 10.0 * len(sample) * rows.d * trial
    vectors = rotation.float().flip(1)[:, :count].T @ basis
    # Rounding makes zeros negative.
    return vectors.contiguous(), (variances.flip(0)[:count] / len(sample)).float().clamp_min(0)


SIZE = 128
# A tail's directions cost a few products with a sample of rows, which few samples do not win back.
_TAIL_SIZE, _SAMPLES_A_DIRECTION = 256, 32


class Head:
    """At most `SIZE` orthonormal directions near the principal ones, and the features' coordinates along them.

    The gradient's norm certifies, and most of a raw gradient's norm lies along a few dozen directions in which the
    features vary most: there the curvature is hundreds of times the penalty. Solving there exactly, for every class,
    costs SIZE/d of a product with the features and leaves a problem of modest condition.

    vectors: (h, d). features: (h, n). largest: their largest mean square. tail: what is known of the features elsewhere.
    """

    def __init__(self, rows: Rows) -> None:
        further = min(_TAIL_SIZE, rows.n // _SAMPLES_A_DIRECTION)
        vectors, variances = leading_directions(rows, SIZE + further)
        self.vectors = vectors[:SIZE].contiguous()
        self.size = len(self.vectors)
        self.features = rows.forward(self.vectors)
        # One after the other, because the norm makes a float64 copy first.
        norms = [torch.linalg.vector_norm(feature, dtype=torch.float64) for feature in self.features]
        within = torch.stack(norms).square() / rows.n
        self.largest = float(within.max())
        self.tail = Tail(vectors[self.size :], variances[self.size :], rows, rows.energy / rows.n - float(within.sum()))


class Tail:
    """A model of the features' covariance outside of the head: some directions' variances, and the mean one elsewhere."""

    def __init__(self, vectors: Tensor, variances: Tensor, rows: Rows, variance: float) -> None:
        self._vectors, self._variances = vectors, variances
        left = rows.d - SIZE - len(vectors)
        self._elsewhere = max(variance - float(variances.sum()), 0.0) / max(left, 1)

    def newton(self, gradient: Tensor, weight: Tensor, penalty: float) -> Tensor:
        """A gradient (R, d) divided by each row's curvature, its summed weights (R, 1) times the covariance, plus penalty."""
        elsewhere = weight * self._elsewhere + penalty
        correction = 1 / (weight * self._variances + penalty) - 1 / elsewhere
        return torch.addmm(gradient / elsewhere, correction * (gradient @ self._vectors.T), self._vectors)
