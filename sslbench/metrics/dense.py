"""Scores of answers for every pixel, one picture after the other: what all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.resampling import Pooled, pooled_scores
from sslbench.metrics.score import Score


@dataclass(frozen=True)
class DenseScored:
    """What the pixels of N pictures give together.

    scores: by name, n counts pictures. resampled: each one's values on the resamples of the pictures (R,). images: N. arrays:
    compact sums of each picture, from which the scores can be had again.
    """

    scores: Mapping[str, Score]
    resampled: Mapping[str, NDArray[np.float64]]
    images: int
    arrays: Mapping[str, NDArray[Any]]


class DenseScores(ABC):
    """Takes one picture after the other and keeps sums of each; scores are pooled over all pixels that count of all pictures.

    Standard errors and intervals come from resamples of the pictures, as in `sslbench.metrics.resampling`: those of two networks
    are of the same pictures. main: the name of the score that is compared.
    """

    main: ClassVar[str]

    def __init__(self) -> None:
        self.images = 0
        self._pixels = 0

    def add(self, truth: NDArray[Any], predicted: NDArray[Any]) -> float:
        """Take in one picture, and return the main figure of it alone, nan where no pixel counts.

        truth, predicted: as the subclass says.

        Raises:
            ValueError: arrays that the subclass does not take; nothing of them is counted then.
        """
        truth, predicted = np.asarray(truth), np.asarray(predicted)
        if truth.shape != predicted.shape:
            raise ValueError(
                f"predicted: expected the shape of the truth, {truth.shape}, got {predicted.shape}; bring predictions to the "
                "size of the truth first"
            )
        pixels, figure = self._count(truth, predicted)
        self.images += 1
        self._pixels += pixels
        return figure if pixels else np.nan

    def scored(self) -> DenseScored:
        """The scores of all pictures that were added.

        Raises:
            ValueError: no picture was added, or no pixel of them counts.
        """
        found = pooled_scores(self._checked())
        scores = {name: score for name, (score, _) in found.items()}
        resampled = {name: values for name, (_, values) in found.items()}
        return DenseScored(scores, resampled, self.images, self._arrays())

    def values(self) -> dict[str, float]:
        """The scores alone, by name, without the resamples that their intervals take.

        Raises:
            ValueError: as `scored`.
        """
        parts = self._checked()
        return {name: part.figure(part.statistics.sum(axis=0, dtype=np.float64)) for name, part in parts.items()}

    def _checked(self) -> Mapping[str, Pooled]:
        if not self._pixels:
            told = f"no pixel of {self.images} pictures counts" if self.images else "no picture was added"
            raise ValueError(f"expected pixels to score, but {told}: the scores are undefined")
        return self._parts()

    @abstractmethod
    def _count(self, truth: NDArray[Any], predicted: NDArray[Any]) -> tuple[int, float]:
        """Keep the sums of one picture; how many of its pixels count, and its main figure."""

    @abstractmethod
    def _parts(self) -> Mapping[str, Pooled]:
        """Each score as a figure of sums over the pictures."""

    @abstractmethod
    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        """The sums by the names under which they are stored."""


def check_map(values: NDArray[Any], name: str, kinds: str, channels: int | None = None) -> None:
    """Raise ValueError for what is no map (H, W), or with channels (H, W, C), of numbers of these kinds."""
    fits = values.ndim == 2 if channels is None else values.ndim == 3 and values.shape[2] == channels
    if not (fits and values.size and values.dtype.kind in kinds):
        shape = "(H, W)" if channels is None else f"(H, W, {channels})"
        wanted = "whole numbers" if kinds == "iu" else "real numbers"
        raise ValueError(f"{name}: expected {wanted} {shape}, got {values.dtype} {values.shape}")
