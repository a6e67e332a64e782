"""The two products with the features, in memory or streamed; everything that costs n times d happens here."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sslbench.errors import FeatureError
from sslbench.probes.result import Work
from sslbench.probes.source import Source

_NARROW, _BLOCK_ROWS = 48, 500


class Rows:
    """Features less their mean, as float32 on the device.

    The intercept is free, so a shift changes no solution, and float32 loses less to rounding about the mean. Features
    of at most `resident_bytes` as float32 are held as one centred copy; larger ones are read, converted and centred
    anew, chunk by chunk, for every product. energy: the sum of squares of the centred features.

    Raises FeatureError for NaN or infinite values.
    """

    def __init__(self, source: Source, device: torch.device, work: Work, *, resident_bytes: int) -> None:
        self.n, self.d, self.device, self.work = source.n, source.d, device, work
        self._source = source
        total = torch.zeros(self.d, dtype=torch.float64, device=device)
        for first, part in source.chunks(device):
            sums = part.sum(0, dtype=torch.float64)
            if not sums.isfinite().all():
                bad = int((~part.isfinite().all(dim=1)).nonzero()[0])
                raise FeatureError(f"features: expected finite values, got NaN or infinity in row {first + bad}")
            total += sums
        self._mean = (total / self.n).float()
        self.mean = self._mean
        self.energy = 0.0
        self._data: Tensor | None = None
        data = torch.empty(self.n, self.d, device=device) if 4 * self.n * self.d <= resident_bytes else None
        for first, part in source.chunks(device):
            centred = part - self._mean
            self.energy += float(torch.linalg.vector_norm(centred, dtype=torch.float64)) ** 2
            if data is not None:
                data[first : first + len(part)] = centred
        self._data = data
        self._basis: Tensor | None = None

    @property
    def resident(self) -> Tensor | None:
        """The centred features (n, d), or None where they are streamed."""
        return self._data

    def _chunks(self) -> Iterator[tuple[slice, Tensor]]:
        if self._data is not None:
            yield slice(0, self.n), self._data
            return
        for first, part in self._source.chunks(self.device):
            yield slice(first, first + len(part)), part - self._mean

    def forward(self, weights: Tensor) -> Tensor:
        """Weights (r, d) times the transposed features: (r, n). Class-major, because narrow products are faster so."""
        out = torch.empty(len(weights), self.n, device=self.device)
        for part, x in self._chunks():
            whole = _whole_blocks(len(weights), x)
            if whole:
                blocks = x[:whole].view(-1, _BLOCK_ROWS, self.d)
                product = torch.bmm(weights.expand(len(blocks), -1, -1), blocks.transpose(1, 2))
                out[:, part][:, :whole] = product.transpose(0, 1).reshape(len(weights), -1)
            if whole < len(x):
                torch.mm(weights, x[whole:].T, out=out[:, part][:, whole:])
        self.work.forward += 1
        self.work.forward_columns += len(weights)
        self.work.flops += 2.0 * self.n * self.d * len(weights)
        return out

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residuals (r, n) times the features: (r, d)."""
        out = torch.zeros(len(residual), self.d, device=self.device)
        for part, x in self._chunks():
            some, whole = residual[:, part], _whole_blocks(len(residual), x)
            if whole:
                blocks = x[:whole].view(-1, _BLOCK_ROWS, self.d)
                out += torch.bmm(some[:, :whole].reshape(len(some), -1, _BLOCK_ROWS).transpose(0, 1), blocks).sum(0)
            out.addmm_(some[:, whole:], x[whole:])
        self.work.adjoint += 1
        self.work.adjoint_columns += len(residual)
        self.work.flops += 2.0 * self.n * self.d * len(residual)
        return out

    def sample(self, count: int) -> Tensor:
        """About `count` rows (s, d), evenly spaced, since data often come sorted by class."""
        step = max(1, self.n // count)
        if self._data is not None:
            return self._data[::step]
        return self._source.every(step, self.device) - self._mean

    def to_row_space(self) -> None:
        """Turn the features into coordinates of the space their rows span, if that is much smaller than d.

        Exact: solutions lie in that space. With n <= d/2 the QR decomposition costs less than it saves.
        """
        if self._data is None or 2 * self.n > self.d:
            return
        q, r = torch.linalg.qr(self._data.T)
        self._basis, self._data, self.d = q, r.T.contiguous(), self.n

    def expand(self, weights: Tensor) -> Tensor:
        """Weights (..., d') on these rows' coordinates as weights (..., d) on the features."""
        return weights if self._basis is None else weights @ self._basis.T

    def reduce(self, weights: Tensor) -> Tensor:
        """The inverse of `expand` for weights in the rows' span."""
        return weights if self._basis is None else weights @ self._basis


def _whole_blocks(width: int, x: Tensor) -> int:
    """How many of the rows x (n, d) to multiply block by block, in one batch, by as narrow a matrix as `width`.

    Measured with 40,000 x 2,048 features on two cores: 10 rows of weights take 64 ms as a batch of blocks and 170 ms as one
    matrix product, 30 rows 94 and 220 ms; the products of residuals 72 instead of 117 ms, and 115 instead of 128.
    """
    if x.device.type != "cpu" or width > _NARROW or len(x) < 4 * _BLOCK_ROWS:
        return 0
    return len(x) // _BLOCK_ROWS * _BLOCK_ROWS
