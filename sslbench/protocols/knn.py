"""Weighted nearest-neighbour vote on cosine similarity, exact and chunked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
# Of the neighbours of each test picture, so many of the nearest are kept beside the record.
KEPT = 5
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
        targets = np.concatenate([train.targets, val.targets])
        return _Bank(bank, targets, num_classes, len(train.x), bank_rows(train, val))


def bank_rows(train: Labelled, val: Labelled) -> npt.NDArray[np.int32]:
    """(M,): where each row of a bank of train and val stands among all pictures of both splits, those of train first.

    A picture that could not be read has a number too, so that numbers below the size of train are rows of train, and the
    others, less that size, rows of val.
    """
    first, second = (np.arange(len(part.x)) if part.rows is None else part.rows for part in (train, val))
    size = len(train.x) if train.pictures is None else train.pictures
    return np.concatenate([first, size + second]).astype(np.int32)


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
    """x: rows of length one (M, D). train: how many of them, the first ones, are of train; the others are of val.

    rows: (M,), see `bank_rows`.
    """

    def __init__(
        self, x: Tensor, targets: npt.NDArray[np.int64], num_classes: int, train: int, rows: npt.NDArray[np.int32]
    ) -> None:
        import torch

        self.x = x
        self.targets = torch.from_numpy(targets).to(x.device)
        self.num_classes = num_classes
        self.train = train
        self.rows = rows
        self.hyperparameters = {"k": NEIGHBOURS, "temperature": TEMPERATURE}

    # A cached property can be written to, which mypy does not know.
    @cached_property
    def validation(self) -> Decided | None:  # type: ignore[override]
        """Val as train alone decides it; None where that has fewer than k pictures."""
        if self.train < NEIGHBOURS or self.train == len(self.x):
            return None
        targets, rows = self.targets[: self.train].cpu().numpy(), self.rows[: self.train]
        bank = _Bank(self.x[: self.train], targets, self.num_classes, self.train, rows)
        return bank.decide(self.x[self.train :]), self.targets[self.train :].cpu().numpy()

    def decide(self, x: Tensor) -> npt.NDArray[np.float64]:
        """Log of each class's share of the votes; a class without a vote gets the log of a vanishing share."""
        return self.explain(x)[0]

    def explain(self, x: Tensor) -> tuple[npt.NDArray[np.float64], Mapping[str, npt.NDArray[Any]]]:
        """As `decide`, and the nearest of those who voted, the nearest first.

        neighbours: int32 (N, 5), as `bank_rows` counts them; neighbour_similarity: float16 (N, 5), the cosine.
        """
        import torch
        from torch.nn.functional import normalize

        rows = max(CHUNK_ROWS, CHUNK_BYTES // (4 * sum(self.x.shape)))
        chunks = x.chunk(max(1, -(-len(x) // rows)))
        # One memory for all of them: fresh pages cost as much as the choice of neighbours.
        memory = torch.empty(len(chunks[0]), len(self.x), device=x.device)
        voted = [self._vote(normalize(chunk.float()), memory) for chunk in chunks]
        shares, similarity, index = (torch.cat(part) for part in zip(*voted, strict=True))
        nearest = {
            "neighbours": self.rows[index.cpu().numpy()],
            "neighbour_similarity": similarity.cpu().numpy().astype(np.float16),
        }
        return shares.clamp_min(1e-12).log().cpu().numpy(), nearest

    def _vote(self, queries: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shares (B, K), and of the nearest the similarities and places in the bank, both (B, 5)."""
        import torch

        look()
        similarity, index = largest(torch.mm(queries, self.x.T, out=memory[: len(queries)]), NEIGHBOURS)
        weights = torch.softmax(similarity.double() / TEMPERATURE, dim=1)
        votes = torch.zeros(len(queries), self.num_classes, dtype=weights.dtype, device=queries.device)
        # Copies: a view would keep the whole neighbourhood of every query.
        kept = similarity[:, :KEPT].clone(), index[:, :KEPT].clone()
        return votes.scatter_add_(1, self.targets[index], weights), *kept


SPEC = ProtocolSpec("knn", 1, NearestNeighbours, "weighted cosine 20-nearest-neighbour vote")
