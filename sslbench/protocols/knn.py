"""Weighted nearest-neighbour vote on cosine similarity, exact and chunked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.errors import DataError
from sslbench.protocols.base import Labelled, Metric, Predictor, SplitProtocol

# The protocol of Wu et al. 2018 (instance discrimination) with the k of DINO's evaluation (eval_knn.py).
NEIGHBOURS = 20
TEMPERATURE = 0.07
CHUNK = 1024


class NearestNeighbours(SplitProtocol):
    """k = 20, temperature 0.07; train and validation images are the bank, as in the linear probe's last fit."""

    selects = False

    def __init__(self, variant: str = "") -> None:
        if variant:
            raise DataError(f"the knn protocol has no variant {variant!r}")

    def check(self, train: npt.NDArray[Any], val: npt.NDArray[Any], classes: Sequence[str]) -> None:
        """A bank of k pictures."""
        if (bank := len(train) + len(val)) < NEIGHBOURS:
            raise DataError(f"knn needs at least {NEIGHBOURS} training images, got {bank}; add images")

    def fit(self, train: Labelled, val: Labelled, *, num_classes: int, metric: Metric) -> Predictor:
        """Store the bank; nothing is selected."""
        self.check(train.targets, val.targets, ())
        bank = torch.cat([train.x.float(), val.x.float()])
        return _Bank(bank, np.concatenate([train.targets, val.targets]), num_classes)


class _Bank(Predictor):
    def __init__(self, x: Tensor, targets: npt.NDArray[np.int64], num_classes: int) -> None:
        self.x = F.normalize(x)
        self.targets = torch.from_numpy(targets).to(x.device)
        self.num_classes = num_classes
        self.hyperparameters = {"k": NEIGHBOURS, "temperature": TEMPERATURE}

    def decide(self, x: Tensor) -> npt.NDArray[np.float64]:
        """Log of each class's share of the votes; a class without a vote gets the log of a vanishing share."""
        shares = torch.cat([self._vote(F.normalize(chunk.float())) for chunk in torch.split(x, CHUNK)])
        return shares.clamp_min(1e-12).log().cpu().numpy()

    def _vote(self, queries: Tensor) -> Tensor:
        similarity, index = (queries @ self.x.T).topk(NEIGHBOURS, dim=1)
        weights = torch.softmax(similarity.double() / TEMPERATURE, dim=1)
        votes = torch.zeros(len(queries), self.num_classes, dtype=weights.dtype, device=queries.device)
        return votes.scatter_add_(1, self.targets[index], weights)
