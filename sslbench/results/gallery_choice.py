"""Which pictures a gallery shows: those on which a detector did worst and best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sslbench.errors import RecordError
from sslbench.metrics.detection import image_average_precision
from sslbench.metrics.detection_samples import DetectionSamples


@dataclass(frozen=True)
class Choice:
    """Places of pictures among the N of the samples.

    worst: the lowest average precision first. best: the highest first; none is in both. precisions: float64 (N,), in percent, of
    each picture alone at overlap .50 by VOC's rule; nan where it has no object that counts.
    """

    worst: NDArray[np.int64]
    best: NDArray[np.int64]
    precisions: NDArray[np.float64]

    @property
    def judged(self) -> int:
        """How many pictures have an average precision."""
        return int((~np.isnan(self.precisions)).sum())


def choose(samples: DetectionSamples, count: int) -> Choice:
    """`count` of the worst and as many of the best pictures; of fewer than twice as many the worse and the better half.

    Among equals those with more objects come first, which tell more, then the order of the test split. RecordError where no
    picture has an object that counts.
    """
    truth = samples.truth
    precisions = image_average_precision(samples.found, truth, len(samples.classes))
    judged = np.flatnonzero(~np.isnan(precisions))
    if not judged.size:
        raise RecordError("no test picture has an object that counts, so that none is better than another")
    objects = np.bincount(truth.image[~truth.difficult], minlength=truth.images)[judged]
    # Equal fractions come out of sums of other terms, and differ in the last bits.
    ranked = np.round(precisions[judged], 6)
    rising, falling = (judged[np.lexsort((samples.rows[judged], -objects, values))] for values in (ranked, -ranked))
    worst = rising[: min(count, -(-len(judged) // 2))]
    best = falling[~np.isin(falling, worst)][: min(count, len(judged) // 2)]
    return Choice(worst, best, precisions)
