"""The features' leading principal directions, in which the solver keeps every class's weights free."""

from __future__ import annotations

import torch

from sslbench.probes.rows import Rows

SIZE = 64
_OVERSAMPLING = 8
_SAMPLED_ROWS = 2048


class Head:
    """At most `SIZE` orthonormal directions near the principal ones, and the features' coordinates along them.

    The gradient's norm certifies, and most of a raw gradient's norm lies along a few dozen directions in which the
    features vary most: there the curvature is hundreds of times the penalty. Solving there exactly, for every class,
    costs SIZE/d of a product with the features and leaves a problem of modest condition.

    vectors: (h, d). features: (h, n), and their squares. tail: mean squared length of a row outside of the head, divided
    by the d - h dimensions left. Found by subspace iteration on a sample of rows (Halko, Martinsson and Tropp, "Finding structure
    with randomness", SIAM Review 53 (2011), algorithm 4.4) with a fixed seed.
    """

    def __init__(self, rows: Rows) -> None:
        sample = rows.sample(_SAMPLED_ROWS)
        trial = min(SIZE + _OVERSAMPLING, rows.d)
        generator = torch.Generator().manual_seed(0)
        basis = torch.randn(trial, rows.d, generator=generator).to(rows.device)
        for _ in range(2):
            basis = torch.linalg.qr(((basis @ sample.T) @ sample).T)[0].T
        coordinates = basis @ sample.T
        _, rotation = torch.linalg.eigh((coordinates @ coordinates.T).double())
        rows.work.flops += 10.0 * len(sample) * rows.d * trial
        self.size = min(SIZE, rows.d)
        self.vectors = (rotation.float().flip(1)[:, : self.size].T @ basis).contiguous()
        self.features = rows.forward(self.vectors)
        self.squares = self.features.square()
        energy = float(torch.linalg.vector_norm(self.features, dtype=torch.float64)) ** 2
        self.tail = max(rows.energy - energy, 0.0) / (rows.n * max(rows.d - self.size, 1))
