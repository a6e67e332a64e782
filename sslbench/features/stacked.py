"""Rows of several feature matrices, addressed as if they stood one below the other, without copying them together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


class Pool:
    """Feature matrices (N_i, D) as one (N, D) that gives float32 rows.

    Copying the splits of a large dataset together would double the memory that its features take.
    """

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self.parts = tuple(parts)
        self._starts = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0).tolist()

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def width(self) -> int:
        """D."""
        return int(self.parts[0].shape[1])

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.parts[0].device

    def rows(self, index: Tensor, out: Tensor | None = None) -> Tensor:
        """float32 (*index.shape, D) for an int64 index of any shape on the same device.

        out: contiguous float32 (M, D) with M >= index.numel() to use the memory of; fresh memory costs more than the copy.
        """
        flat = index.reshape(-1)
        gathered = torch.empty(len(flat), self.width, device=self.device) if out is None else out[: len(flat)]
        if len(self.parts) == 1 and self.parts[0].dtype == torch.float32:
            torch.index_select(self.parts[0], 0, flat, out=gathered)
            return gathered.view(*index.shape, self.width)
        for part, start, inside in self._shares(flat):
            gathered[inside] = part[flat[inside] - start].float()
        return gathered.view(*index.shape, self.width)

    def sums(self, index: Tensor) -> Tensor:
        """float32 (B, D), for each line of an int64 index (B, M) the sum of its rows, which are not copied first."""
        if any(part.dtype != torch.float32 for part in self.parts):
            # Sums of halves would be rounded to halves.
            return torch.cat([self.rows(lines).sum(1) for lines in torch.split(index, 16)])
        if len(self.parts) == 1:
            return embedding_bag(index, self.parts[0], mode="sum")
        total = torch.zeros(len(index), self.width, device=self.device)
        for part, start, inside in self._shares(index.reshape(-1)):
            counts = torch.bincount(inside // index.shape[1], minlength=len(index))
            offsets = counts.cumsum(0) - counts
            total += embedding_bag(index.reshape(-1)[inside] - start, part, offsets, mode="sum")
        return total

    def _shares(self, flat: Tensor) -> Iterator[tuple[Tensor, int, Tensor]]:
        """Each part with its first row and the positions (M,) in a flat index that address it."""
        for part, start in zip(self.parts, self._starts[:-1], strict=True):
            inside = ((flat >= start) & (flat < start + len(part))).nonzero().squeeze(1)
            if len(inside):
                yield part, start, inside
