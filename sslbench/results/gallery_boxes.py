"""What a gallery shows of detections: the pictures on which a detector did worst and best, with boxes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sslbench.errors import RecordError
from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.results.gallery_choice import Choice, choose
from sslbench.results.gallery_frame import Entry, Load, Shown
from sslbench.results.gallery_panel import LEGEND, BoxPanel, make_panel


def show_boxes(samples: DetectionSamples, load: Load, count: int, threshold: float) -> Shown:
    """The worst and the best pictures, `count` of each, with detections from the threshold on.

    Raises RecordError where no picture can be chosen, or one is not of the size that its boxes are of.
    """
    choice = choose(samples, count)
    worst, best = (
        tuple(_panels(samples, load, places, choice.precisions, threshold)) for places in (choice.worst, choice.best)
    )
    legend = tuple(Entry(text, kind) for kind, text in LEGEND.items())
    return Shown("AP50", True, worst, best, _told(samples, choice, threshold), legend)


def _panels(
    samples: DetectionSamples, load: Load, places: NDArray[np.int64], precisions: NDArray[np.float64], threshold: float
) -> Iterator[BoxPanel]:
    """One picture after the other, since a large one is kept reduced."""
    for place in places.tolist():
        row = int(samples.rows[place])
        picture = load(row)
        high, wide = samples.sizes[place].tolist()
        if picture.size != (wide, high):
            raise RecordError(
                f"its boxes in test row {row} are of a picture of {wide} x {high} pixels, but it has {picture.width} x "
                f"{picture.height}; run the case again"
            )
        yield make_panel(samples, place, picture, float(precisions[place]), threshold)


def _told(samples: DetectionSamples, choice: Choice, threshold: float) -> tuple[str, ...]:
    told = [
        "Chosen by AP50 of each picture alone: the mean, over the classes it has objects of, of average precision at overlap "
        f".50 by VOC's rule. Shown are {len(choice.worst)} of the worst and {len(choice.best)} of the best of "
        f"{choice.judged} test pictures; among equals those with more objects come first, then the order of the test split.",
        f"Detections with a score below {threshold:g} are hidden. AP50 counts them too, and an object that one of them found "
        f"is marked < {threshold:g}.",
    ]
    if left := len(samples.rows) - choice.judged:
        told.insert(1, f"Pictures without an object that counts have no AP50 and are never shown: {left}.")
    return tuple(told)
