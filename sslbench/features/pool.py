"""Rows of several feature matrices, addressed as if they stood one below the other, without copying them together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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

    def rows(self, index: Tensor) -> Tensor:
        """float32 (*index.shape, D) for an int64 index of any shape on the same device."""
        flat = index.reshape(-1)
        if len(self.parts) == 1:
            return self.parts[0][flat].float().view(*index.shape, self.width)
        gathered = torch.empty(len(flat), self.width, device=self.device)
        for part, start in zip(self.parts, self._starts, strict=False):
            inside = ((flat >= start) & (flat < start + len(part))).nonzero().squeeze(1)
            gathered[inside] = part[flat[inside] - start].float()
        return gathered.view(*index.shape, self.width)
