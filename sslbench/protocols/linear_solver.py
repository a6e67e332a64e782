"""What the linear protocol asks of a solver."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sslbench.protocols.base import Labelled, Predictor

Decisions = npt.NDArray[np.float64]


class LinearSolver(ABC):
    """How the probes of one case are fitted. Targets (N,) get a softmax over the classes, (N, K) one sigmoid a class.

    penalties: weights of the penalty, ascending. num_classes: K. two_rows: whether a binary problem's penalty is that of a
    softmax with two rows, as the official code forces it, which equals plain binary logistic regression at 2C.
    """

    def __init__(self, penalties: Sequence[float], *, num_classes: int, two_rows: bool) -> None:
        self.penalties = penalties
        self.num_classes = num_classes
        self.two_rows = two_rows

    @abstractmethod
    def scan(self, train: Labelled, x: Tensor) -> Iterator[Decisions]:
        """Decision values (N, K) on x, for each penalty in order."""

    @abstractmethod
    def refit(self, train: Labelled, val: Labelled, index: int) -> Predictor:
        """The probe at penalties[index] on train + val, after a scan; `hyperparameters` tell how well both were solved."""
