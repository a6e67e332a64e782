"""The directions in which the features vary most."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.probes.rows import Rows

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
