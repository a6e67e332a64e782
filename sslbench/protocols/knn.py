"""Weighted nearest-neighbour vote on cosine similarity, exact and chunked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sslbench.errors import DataError
from sslbench.metrics import MetricSpec
from sslbench.metrics.calibration_scores import Decided
from sslbench.protocols.base import Labelled
from sslbench.protocols.classification import Classifier, Probe
from sslbench.protocols.registry import ProtocolSpec
from sslbench.threads import look

if TYPE_CHECKING:
    from torch import Tensor

# The protocol of Wu et al. 2018 (instance discrimination) with the k of DINO's evaluation (eval_knn.py).
NEIGHBOURS = 20
TEMPERATURE = 0.07
# How much of queries and similarities is held together, and the fewest queries: the product reads and packs the bank for
# each chunk, so that large ones cost less.
CHUNK_BYTES, CHUNK_ROWS = 256 << 20, 256
# Columns for which one maximum stands while the nearest are sought; of 4 to 32 the fastest, with and without AVX-512.
BLOCK = 8


class NearestNeighbours(Probe):
    """k = 20, temperature 0.07; train and validation images are the bank, as in the linear probe's last fit."""

    selects = False

    def __init__(self, variant: str = "") -> None:
        if variant:
            raise DataError(f"the knn protocol has no variant {variant!r}")

    def check_targets(self, train: npt.NDArray[Any], val: npt.NDArray[Any], classes: Sequence[str]) -> None:
        """A bank of k pictures."""
        if (bank := len(train) + len(val)) < NEIGHBOURS:
            raise DataError(f"knn needs at least {NEIGHBOURS} training images, got {bank}; add images")

    def learn(self, train: Labelled, val: Labelled, *, num_classes: int, metric: MetricSpec) -> Classifier:
        """Store the bank; nothing is selected."""
        import torch
        from torch.nn.functional import normalize

        bank = torch.empty(len(train.x) + len(val.x), train.x.shape[1], device=train.x.device)
        # Straight to where they stay: joined first, the rows of a large dataset would be in memory twice.
        normalize(train.x.float(), out=bank[: len(train.x)])
        normalize(val.x.float(), out=bank[len(train.x) :])
        return _Bank(bank, np.concatenate([train.targets, val.targets]), num_classes, len(train.x))


def largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of each row of (N, M), descending, and their columns int64, both (N, count): `topk`, faster.

    They lie in the `count` blocks of columns whose maxima are largest, which are sought in the same way. Which of equal
    values is taken is open, as it is for `topk`.
    """
    import torch

    blocks = values.shape[1] // BLOCK
    # With fewer columns there is nothing to gain; on a GPU none was measured.
    if values.device.type != "cpu" or blocks < 16 * count:
        return values.topk(count, dim=1)
    whole = BLOCK * blocks
    # A block's columns are `blocks` apart, so that maxima are taken over whole vectors.
    _, best = largest(values[:, :whole].view(len(values), BLOCK, blocks).amax(dim=1), count)
    columns = (best[:, None] + torch.arange(0, whole, blocks)[:, None]).flatten(1)
    columns = torch.cat([columns, torch.arange(whole, values.shape[1]).expand(len(values), -1)], dim=1)
    found, place = values.gather(1, columns).topk(count, dim=1)
    return found, columns.gather(1, place)


class _Bank(Classifier):
    """x: rows of length one (N, D). train: how many of them, the first ones, are of train; the others are of val."""

    def __init__(self, x: Tensor, targets: npt.NDArray[np.int64], num_classes: int, train: int) -> None:
        import torch

        self.x = x
        self.targets = torch.from_numpy(targets).to(x.device)
        self.num_classes = num_classes
        self.train = train
        self.hyperparameters = {"k": NEIGHBOURS, "temperature": TEMPERATURE}

    # A cached property can be written to, which mypy does not know.
    @cached_property
    def validation(self) -> Decided | None:  # type: ignore[override]
        """Val as train alone decides it; None where that has fewer than k pictures."""
        if self.train < NEIGHBOURS or self.train == len(self.x):
            return None
        bank = _Bank(self.x[: self.train], self.targets[: self.train].cpu().numpy(), self.num_classes, self.train)
        return bank.decide(self.x[self.train :]), self.targets[self.train :].cpu().numpy()

    def decide(self, x: Tensor) -> npt.NDArray[np.float64]:
        """Log of each class's share of the votes; a class without a vote gets the log of a vanishing share."""
        import torch
        from torch.nn.functional import normalize

        rows = max(CHUNK_ROWS, CHUNK_BYTES // (4 * sum(self.x.shape)))
        chunks = x.chunk(max(1, -(-len(x) // rows)))
        # One memory for all of them: fresh pages cost as much as the choice of neighbours.
        memory = torch.empty(len(chunks[0]), len(self.x), device=x.device)
        shares = torch.cat([self._vote(normalize(chunk.float()), memory) for chunk in chunks])
        return shares.clamp_min(1e-12).log().cpu().numpy()

    def _vote(self, queries: Tensor, memory: Tensor) -> Tensor:
        import torch

        look()
        similarity, index = largest(torch.mm(queries, self.x.T, out=memory[: len(queries)]), NEIGHBOURS)
        weights = torch.softmax(similarity.double() / TEMPERATURE, dim=1)
        votes = torch.zeros(len(queries), self.num_classes, dtype=weights.dtype, device=queries.device)
        return votes.scatter_add_(1, self.targets[index], weights)


SPEC = ProtocolSpec("knn", 1, NearestNeighbours, "weighted cosine 20-nearest-neighbour vote")
