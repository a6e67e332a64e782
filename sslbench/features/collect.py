"""Features on their way from the device into one array, without the device waiting for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sslbench.datasets import Images
from sslbench.errors import DataError, FeatureError


@dataclass(frozen=True)
class _OnItsWay:
    rows: list[int]
    features: Tensor
    arrived: Any

    def wait(self) -> Tensor:
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.features


class Collected:
    """The features of the rows that could be read, in order.

    A batch is looked at when the next one has been handed to the device. stored: the NumPy type.
    """

    def __init__(self, backbone: str, source: Images, stored: str) -> None:
        self._backbone, self._source, self._stored = backbone, source, stored
        self._x: npt.NDArray[Any] = np.empty((0, 0), dtype=stored)
        self._rows: list[int] = []
        self._pending: _OnItsWay | None = None

    def add(self, rows: list[int], features: Tensor) -> None:
        """(B, D) of these rows. Raises FeatureError for values of the batch before that are not finite."""
        arrived: Any = None
        if features.is_cuda:
            stream = torch.cuda.current_stream(features.device)
            features = features.to("cpu", non_blocking=True)
            arrived = stream.record_event()
        before, self._pending = self._pending, _OnItsWay(rows, features, arrived)
        if before is not None:
            self._take(before)

    def finish(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """x (M, D) and rows int64 (M,). Raises FeatureError as `add` does, and DataError when there is none."""
        if self._pending is not None:
            self._take(self._pending)
            self._pending = None
        if not self._rows:
            raise DataError(f"{self._source.fingerprint}: no readable image is left to embed")
        return self._x[: len(self._rows)], np.array(self._rows, dtype=np.int64)

    def _take(self, batch: _OnItsWay) -> None:
        features = batch.wait()
        finite = torch.isfinite(features).all(dim=1)
        if not bool(finite.all()):
            bad = batch.rows[int((~finite).nonzero()[0])]
            raise FeatureError(
                f"{self._backbone} gave NaN or infinite features for image {bad} of {self._source.fingerprint}; check the "
                "checkpoint and preprocessing, or compute and store in float32"
            )
        if not self._rows:
            # Once the width is known: parts to be concatenated would stand in memory twice.
            self._x = np.empty((len(self._source), features.shape[1]), dtype=self._stored)
        self._x[len(self._rows) : len(self._rows) + len(batch.rows)] = features.numpy()
        self._rows += batch.rows
