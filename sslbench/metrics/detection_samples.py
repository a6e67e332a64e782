"""Detections and truth as the arrays that lie beside a record: enough to score them again, without network or pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.detection import Detections, Truth


@dataclass(frozen=True)
class DetectionSamples:
    """What a detector found on N test pictures.

    found, truth: as scored. rows: int64 (N,), the row of each picture in the test split. sizes: int64 (N, 2), heights and widths
    in pixels. classes: their names.
    """

    found: Detections
    truth: Truth
    rows: NDArray[np.int64]
    sizes: NDArray[np.int64]
    classes: Sequence[str]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """By the names under which they are stored; 26 bytes a detection."""
        found, truth = self.found, self.truth
        return {
            "found_image": found.image.astype(np.int32),
            "found_boxes": found.boxes.astype(np.float32),
            "found_labels": found.labels.astype(np.uint16),
            "found_scores": found.scores.astype(np.float32),
            "true_image": truth.image.astype(np.int32),
            "true_boxes": truth.boxes.astype(np.float32),
            "true_labels": truth.labels.astype(np.uint16),
            "true_difficult": truth.difficult.astype(np.uint8),
            "rows": self.rows.astype(np.int64),
            "sizes": self.sizes.astype(np.int32),
            "classes": np.frombuffer(json.dumps(list(self.classes)).encode(), dtype=np.uint8),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> DetectionSamples:
        """The inverse of `to_arrays`. Raises ValueError for arrays that are not those of a detector."""
        try:
            image, boxes, labels = (arrays[f"found_{part}"] for part in ("image", "boxes", "labels"))
            there = [arrays[f"true_{part}"] for part in ("image", "boxes", "labels")]
            names = json.loads(arrays["classes"].tobytes())
            return cls(
                Detections(image.astype(np.int64), boxes, labels.astype(np.int64), arrays["found_scores"]),
                Truth(
                    len(arrays["rows"]), there[0].astype(np.int64), there[1], there[2].astype(np.int64),
                    arrays["true_difficult"].astype(bool),
                ),
                arrays["rows"],
                arrays["sizes"].astype(np.int64),
                tuple(names),
            )  # fmt: skip
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"these are not the detections of a record: {type(error).__name__}: {error}") from error
