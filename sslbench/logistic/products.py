"""The two products with the features, in memory or streamed; everything that costs n times d happens here.

Products of a tall matrix with a narrow one, in the form that is fastest on this processor.

Measured with 40,000 x 2,048 float32 features on two cores, milliseconds; reading them once takes 11 on the Intel, 22 on the AMD:

| | Xeon, AVX-512: 10 columns | 20 | 47 | 101 | EPYC, AVX2: 10 | 30 |
|---|---|---|---|---|---|---|
| forward, transposed: (x w^T)^T | 23 | 31 | 42 | 84 | | |
| forward, plain: w x^T | 49 | 35 | 43 | 65 | 170 | 220 |
| forward, one batch of blocks | 33 | 29 | 43 | 67 | 64 | 94 |
| adjoint, plain: r x | 23 | 26 | 38 | 63 | 117 | 128 |
| adjoint, one batch of blocks | 32 | 37 | 48 | 96 | 72 | 115 |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sslbench.errors import FeatureError
from sslbench.logistic.features import Source
from sslbench.logistic.result import Work

_NARROW, _BLOCK_ROWS = 48, 500
_WIDE_VECTORS = torch.backends.cpu.get_cpu_capability() == "AVX512"


def narrow_forward(weights: Tensor, x: Tensor, out: Tensor) -> None:
    """Weights (r, d) times the transposed x (n, d), into out (r, n): class-major, as the solver keeps logits."""
    if x.device.type != "cpu" or len(weights) > _NARROW:
        torch.mm(weights, x.T, out=out)
    elif _WIDE_VECTORS:
        out.copy_((x @ weights.T).T)
    else:
        whole = _whole_blocks(x)
        if whole:
            blocks = x[:whole].view(-1, _BLOCK_ROWS, x.shape[1])
            product = torch.bmm(weights.expand(len(blocks), -1, -1), blocks.transpose(1, 2))
            out[:, :whole] = product.transpose(0, 1).reshape(len(weights), -1)
        if whole < len(x):
            torch.mm(weights, x[whole:].T, out=out[:, whole:])


def narrow_add_adjoint(residual: Tensor, x: Tensor, out: Tensor) -> None:
    """Residuals (r, n) times x (n, d), added to out (r, d)."""
    whole = 0
    if x.device.type == "cpu" and len(residual) <= _NARROW and not _WIDE_VECTORS:
        whole = _whole_blocks(x)
    if whole:
        blocks = x[:whole].view(-1, _BLOCK_ROWS, x.shape[1])
        out += torch.bmm(residual[:, :whole].reshape(len(out), -1, _BLOCK_ROWS).transpose(0, 1), blocks).sum(0)
    out.addmm_(residual[:, whole:], x[whole:])


def _whole_blocks(x: Tensor) -> int:
    """How many rows to multiply in blocks; none where they are few."""
    return 0 if len(x) < 4 * _BLOCK_ROWS else len(x) // _BLOCK_ROWS * _BLOCK_ROWS


class Rows:
    """Features less their mean, divided by their scale, as float32 on the device.

    The intercept is free, so a shift changes no solution, and float32 loses less to rounding about the mean. The scale, a
    power of two near the root mean square, changes the penalty by its square and nothing else; no threshold of a solver meets
    numbers of another size. Features of at most `resident_bytes` as float32 are held as one such copy; larger ones are read
    and converted anew, chunk by chunk, for every product. energy: the sum of squares of what is held. look: called before
    each product.

    Raises FeatureError for NaN or infinite values.
    """

    def __init__(self, source: Source, device: torch.device, work: Work, *, resident_bytes: int) -> None:
        self.n, self.d, self.device, self.work = source.n, source.d, device, work
        self._source = source
        data = torch.empty(self.n, self.d, device=device) if 4 * self.n * self.d <= resident_bytes else None
        total = torch.zeros(self.d, dtype=torch.float64, device=device)
        for first, part in source.chunks(device):
            total += _sums(part, first)
            if data is not None:
                data[first : first + len(part)] = part
        self.mean = (total / self.n).float()
        energy = torch.zeros((), dtype=torch.float64, device=device)
        self._data, self.scale = None if data is None else data.sub_(self.mean), 1.0
        for span, part in self._chunks():
            for piece in torch.split(part, source.chunk_rows):  # whose squares are a copy
                energy += torch.linalg.vecdot(piece, piece).sum(dtype=torch.float64)
            if not energy.isfinite():
                raise FeatureError(
                    f"features: expected values whose squares float32 holds, got up to {float(part.abs().max()):.2g} about the "
                    f"mean in rows {span.start} to {span.stop - 1}; divide them by a constant"
                )
        if energy > 0:
            self.scale = 2.0 ** round(math.log2(float(energy) / (self.n * self.d)) / 2)
        if self._data is not None:
            self._data /= self.scale
        self.energy = float(energy) / self.scale**2
        self._basis: Tensor | None = None
        self._double: Tensor | None = None
        self.look: Callable[[], None] = lambda: None

    @property
    def resident(self) -> Tensor | None:
        """The centred features (n, d), or None where they are streamed."""
        return self._data

    def _chunks(self) -> Iterator[tuple[slice, Tensor]]:
        if self._data is not None:
            yield slice(0, self.n), self._data
            return
        for first, part in self._source.chunks(self.device):
            yield slice(first, first + len(part)), (part - self.mean) / self.scale

    def forward(self, weights: Tensor) -> Tensor:
        """Weights (r, d) times the transposed features: (r, n), in float32 or float64 as the weights are."""
        self.look()
        out = torch.empty(len(weights), self.n, device=self.device, dtype=weights.dtype)
        for part, x in self._chunks_as(weights.dtype):
            narrow_forward(weights, x, out[:, part])
        self.work.count(self.n * self.d, forward=len(weights))
        return out

    def adjoint(self, residual: Tensor) -> Tensor:
        """Residuals (r, n) times the features: (r, d), in float32 or float64 as the residuals are."""
        self.look()
        out = torch.zeros(len(residual), self.d, device=self.device, dtype=residual.dtype)
        for part, x in self._chunks_as(residual.dtype):
            narrow_add_adjoint(residual[:, part], x, out)
        self.work.count(self.n * self.d, adjoint=len(residual))
        return out

    def gram(self) -> Tensor:
        """Products of the features' columns, float64 (d, d)."""
        total = torch.zeros(self.d, self.d, dtype=torch.float64, device=self.device)
        for _, x in self._chunks_as(torch.float64):
            total.addmm_(x.T, x)
        self.work.flops += 2.0 * self.n * self.d**2
        return total

    def _chunks_as(self, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        if dtype == torch.float32:
            yield from self._chunks()
        elif self._double is not None:
            yield slice(0, self.n), self._double
        else:
            for part, x in self._chunks():
                for first in range(0, len(x), self._source.chunk_rows):
                    piece = x[first : first + self._source.chunk_rows].to(dtype)
                    yield slice(part.start + first, part.start + first + len(piece)), piece

    def sample(self, count: int) -> Tensor:
        """About `count` rows (s, d), evenly spaced, since data often come sorted by class."""
        step = max(1, self.n // count)
        if self._data is not None:
            return self._data[::step]
        return (self._source.every(step, self.device) - self.mean) / self.scale

    def to_row_space(self) -> None:
        """Turn the features into coordinates of the space their rows span, if that is much smaller than d.

        Exact: solutions lie in that space. With n <= d/2 the QR decomposition costs less than it saves.
        """
        if self._data is None or 2 * self.n > self.d:
            return
        q, r = torch.linalg.qr(self._data.T)
        self._basis, self._data, self.d = q, r.T.contiguous(), self.n

    def keep_double(self) -> None:
        """Hold a float64 copy of features in memory, which float64 products would otherwise make anew, piece by piece."""
        self._double = None if self._data is None else self._data.double()

    def expand(self, weights: Tensor) -> Tensor:
        """Weights (..., d') on these rows' coordinates as weights (..., d) on the features."""
        return (weights if self._basis is None else weights @ self._basis.T) / self.scale

    def reduce(self, weights: Tensor) -> Tensor:
        """The inverse of `expand` for weights in the rows' span."""
        return (weights if self._basis is None else weights @ self._basis) * self.scale


def _sums(part: Tensor, first: int) -> Tensor:
    """Column sums, float64 (d,), of rows from `first` on."""
    # Twenty times as fast as in float64, and the features may be shifted by anything near their mean.
    sums = part.sum(0)
    if sums.isfinite().all():
        return sums.double()
    bad = (~part.isfinite().all(dim=1)).nonzero()
    if len(bad):
        raise FeatureError(f"features: expected finite values, got NaN or infinity in row {first + int(bad[0])}")
    return part.sum(0, dtype=torch.float64)
