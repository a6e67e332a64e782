"""The two shapes a recognition protocol can have, by types that keep selection away from the test split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sslbench.features.pool import Pool
from sslbench.metrics import Score

Metric = Callable[[npt.NDArray[Any], npt.NDArray[Any]], Score]


@dataclass(frozen=True)
class Labelled:
    """Features with targets: x float32 or float16 (N, D) on the device; targets int64 (N,), or int8 (N, K) multi-label."""

    x: Tensor
    targets: npt.NDArray[Any]


class Predictor(ABC):
    """What fitting leaves behind. It has never seen the test split."""

    hyperparameters: Mapping[str, Any]

    @abstractmethod
    def decide(self, x: Tensor) -> npt.NDArray[np.float64]:
        """Decision values (N, K) for features (N, D); the largest one is the prediction."""


class SplitProtocol(ABC):
    """Fit on train and validation; the runner opens the test split afterwards.

    multi_label: whether targets (N, K) are taken too. selects: whether `fit` asks the metric about `val`, so that the metric
    must have a value there.
    """

    multi_label = False
    selects = True

    def check(self, train: npt.NDArray[Any], val: npt.NDArray[Any], classes: Sequence[str]) -> None:  # noqa: B027
        """Raise DataError for targets that `fit` cannot use; the runner asks before a picture is decoded.

        classes: names, for the message.
        """

    @abstractmethod
    def fit(self, train: Labelled, val: Labelled, *, num_classes: int, metric: Metric) -> Predictor:
        """Select on `val` by `metric` and return the predictor to test. Raises DataError for unusable splits."""


@dataclass(frozen=True)
class Episodes:
    """Few-shot episodes over pooled rows.

    rows: int64 (E, way, shot + query), support rows first. digest: identifies the draws.
    """

    rows: npt.NDArray[np.int64]
    digest: str


class EpisodicProtocol(ABC):
    """Scored over episodes drawn from all splits pooled; nothing is selected."""

    shot: int
    query: int
    way: int

    def check(self, targets: npt.NDArray[np.int64], classes: Sequence[str]) -> None:  # noqa: B027
        """Raise DataError for targets that `draw` cannot use; the runner asks before a picture is decoded."""

    @abstractmethod
    def draw(self, targets: npt.NDArray[np.int64], classes: tuple[str, ...]) -> Episodes:
        """The episodes, a function of the targets only. Raises DataError for a class with too few images."""

    @abstractmethod
    def predict(self, pool: Pool, episodes: Episodes) -> npt.NDArray[np.int8]:
        """Predicted class slots (E, way * query), the queries of slot 0 first, from pooled features (N, D)."""

    def count_right(self, predictions: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
        """Right answers (E,) among the queries of each episode."""
        truth = np.repeat(np.arange(self.way), self.query)
        return np.asarray((predictions == truth).sum(axis=1), dtype=np.int64)

    def right_answers(self, pool: Pool, episodes: Episodes) -> npt.NDArray[np.int64]:
        """Right answers (E,) of each episode."""
        return self.count_right(self.predict(pool, episodes))
