"""The subspace that all penalties share: directions of weights with the logits they make."""

from __future__ import annotations

import torch
from torch import Tensor


class Directions:
    """At most `capacity` directions, each (r, d) weights a group, with their logits.

    They are orthonormal within a group, and each row is orthogonal to the orthonormal vectors `excluded` (h, d).
    weights: (G, capacity, r d). logits: (G, capacity, r n), relative to the target's. The first `count` are in use.
    """

    def __init__(self, shape: tuple[int, int, int, int], capacity: int, excluded: Tensor) -> None:
        self.groups, self.rows, self.n, self.d = shape
        self._excluded, device = excluded, excluded.device
        self.capacity, self.count = capacity, 0
        self._weights = torch.zeros(self.groups, capacity, self.rows * self.d, device=device)
        self._logits = torch.zeros(self.groups, capacity, self.rows * self.n, device=device)

    @property
    def logits(self) -> Tensor:
        """Relative logits (G, m, r, n)."""
        return self._logits[:, : self.count].view(self.groups, self.count, self.rows, self.n)

    def combine_logits(self, along: Tensor) -> Tensor:
        """Logits (G, r, n) of a combination (G, m)."""
        return torch.bmm(along[:, None], self._logits[:, : self.count]).view(self.groups, self.rows, self.n)

    def combine_weights(self, along: Tensor) -> Tensor:
        """Weights (G r, d) of a combination (G, m)."""
        return torch.bmm(along[:, None], self._weights[:, : self.count]).view(-1, self.d)

    def correlate(self, residual: Tensor) -> Tensor:
        """Inner products (G, m) of the directions' logits with residuals (G, r, n)."""
        return torch.bmm(self._logits[:, : self.count], residual.reshape(self.groups, -1, 1))[:, :, 0]

    def orthonormal(self, weights: Tensor) -> Tensor:
        """Weights (G r, d) made orthogonal to directions and excluded vectors, and of unit length in each group.

        Before the product with the features, never after: small differences of logits would not be those of the
        small differences of weights. Twice, because what is left of a weight close to their span is mostly rounding. Groups
        with nothing left get zeros.
        """
        new, present = _unit(self._remainder(weights).view(self.groups, 1, -1)), self._weights[:, : self.count]
        for _ in range(2):
            new = new - torch.bmm(torch.bmm(new, present.transpose(1, 2)), present)
            new = _unit(self._remainder(new.view(-1, self.d)).view_as(new), at_least=1e-3)
        return new.view(-1, self.d)

    def _remainder(self, weights: Tensor) -> Tensor:
        return weights - (weights @ self._excluded.T) @ self._excluded

    def append(self, weights: Tensor, logits: Tensor) -> None:
        """Add a direction that `orthonormal` made, with its relative logits (G, r, n)."""
        self._weights[:, self.count] = weights.view(self.groups, -1)
        self._logits[:, self.count] = logits.reshape(self.groups, -1)
        self.count += 1

    def latest(self) -> Tensor:
        """Weights (G, r d, 1) of the direction added last."""
        return self._weights[:, self.count - 1, :, None]

    def condense(self, wanted: Tensor, recent: int) -> Tensor:
        """Keep the `recent` latest directions and, of the older ones, only the span of combinations (G, m, q).

        Returns the rotation (G, m', m) that turns old coefficients into new ones.
        """
        old = self.count - recent
        kept = torch.linalg.qr(wanted[:, :old].double())[0].float().transpose(1, 2)
        q = kept.shape[1]
        rotation = torch.zeros(self.groups, q + recent, self.count, device=kept.device)
        rotation[:, :q, :old] = kept
        rotation[:, q:, old:] = torch.eye(recent, device=kept.device)
        for store in (self._weights, self._logits):
            store[:, :q] = torch.bmm(kept, store[:, :old])
            store[:, q : q + recent] = store[:, old : self.count].clone()
        self.count = q + recent
        return rotation


def _unit(vectors: Tensor, at_least: float = 0.0) -> Tensor:
    """Vectors (G, 1, p) of length one, or zero where they are no longer than `at_least`."""
    length = torch.linalg.vector_norm(vectors, dim=2, keepdim=True, dtype=torch.float64)
    return torch.where(length > at_least, vectors / length.clamp_min(1e-300), 0.0).float()
