"""One picture of a gallery of detections: its size, its boxes and where their labels go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.detection_data import Detections, Truth
from sslbench.metrics.detection_matching import as_written
from sslbench.metrics.detection_outcomes import detection_outcomes
from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.results.gallery_frame import Frame, Mark, Place, reduced, shown_sizes

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 360
"""Pixels of the longer side of a picture as it is shown."""

_LETTER, CHIP, PADDING, SIGN = 6.7, 16, 4, 11  # pixels: a letter's width, a label's height, its margin, a sign's width
_LONGEST = 18

COLOURS = {
    "right": "#009E73", "wrong": "#D55E00", "ignored": "#56B4E9", "missed": "#CC79A7", "taken": "#F0E442",
    "difficult": "#F0E442",
}  # fmt: skip
"""Of Okabe and Ito (jfly.uni-koeln.de/color), which are told apart with any colour vision."""

DASHES = {"missed": (7, 4), "taken": (7, 4), "difficult": (2, 4)}
"""Pixels on and off of what is annotated; detections are solid."""

SIGNS = {
    "right": (((0.0, 0.55), (0.35, 0.9), (1.0, 0.1)),),
    "wrong": (((0.05, 0.05), (0.95, 0.95)), ((0.05, 0.95), (0.95, 0.05))),
    "ignored": (((0.0, 0.5), (1.0, 0.5)),),
}
"""Lines in a square of side 1, because fonts lack such signs."""

LEGEND = {
    "right": "detection, right", "wrong": "detection, wrong", "ignored": "detection, ignored (on a difficult object)",
    "taken": "object, found", "missed": "object, missed", "difficult": "object, difficult: counts neither way",
}  # fmt: skip


@dataclass(frozen=True)
class BoxPanel:
    """A picture with its marks, in the order in which they are drawn.

    picture: RGB, as it is kept. size: width and height as shown. row: in the test split. precision: in percent. counts: marks
    by their kind. hidden: detections below the threshold.
    """

    picture: Image
    size: tuple[int, int]
    marks: tuple[Mark, ...]
    row: int
    precision: float
    counts: dict[str, int]
    hidden: int

    @property
    def frames(self) -> tuple[Frame]:
        """The picture with all that is drawn on it."""
        drawn = "; ".join(mark.told for mark in self.marks) or "nothing is drawn"
        return (Frame(self.picture, self.size, f"Test picture in row {self.row}. {drawn}.", self.marks),)

    @property
    def caption(self) -> tuple[str, str]:
        """Two lines of plain ASCII text."""
        found, missed = self.counts["taken"], self.counts["missed"]
        parts = [f"{found} of {found + missed} found", f"{self.counts['wrong']} wrong"]
        parts += [f"{number} {kind}" for kind in ("ignored", "difficult") if (number := self.counts[kind])]
        parts += [f"{self.hidden} hidden"] * bool(self.hidden)
        return f"row {self.row}: AP50 {self.precision:.1f}", ", ".join(parts)


def make_panel(samples: DetectionSamples, place: int, picture: Image, precision: float, threshold: float) -> BoxPanel:
    """The panel of the picture at a place of the samples. picture: RGB, at its own size.

    Detections with a score below the threshold, to three decimals as VOC's rule reads it, are judged and not shown; an object
    that one of them found says so in its label.
    """
    here = np.flatnonzero(samples.found.image == place)
    every, truth = _detections(samples.found, here), _objects(samples.truth, place)
    shown = as_written(every)[0] >= threshold
    # What follows a detection does not change what it is, so that those shown are judged alike without the others.
    found, classes = _detections(samples.found, here[shown]), len(samples.classes)
    outcomes, taken = detection_outcomes(found, truth, classes), detection_outcomes(every, truth, classes).taken
    size, kept = shown_sizes(picture.width, picture.height, SIDE)
    scale = np.array([size[0] / picture.width, size[1] / picture.height] * 2)
    marks = []
    # What is more certain lies on top.
    for i in np.argsort(found.scores, kind="stable"):
        kind = "right" if outcomes.right[i] else "ignored" if outcomes.ignored[i] else "wrong"
        name, score = samples.classes[found.labels[i]], _decimals(float(found.scores[i]))
        told = f"{name}, score {score}: {LEGEND[kind]}"
        marks.append(Mark(kind, _inside(found.boxes[i] * scale, size), f"{_short(name)} {score}", told))
    # Dashes on a solid line show both where they coincide.
    for i, label in enumerate(truth.labels.tolist()):
        kind = "difficult" if truth.difficult[i] else "taken" if taken[i] else "missed"
        name, below = samples.classes[label], taken[i] and not outcomes.taken[i]
        text = f"missed {_short(name)}" if kind == "missed" else f"{_short(name)} < {threshold:g}" if below else ""
        told = f"{name}: {LEGEND[kind]}" + f" with a score below {threshold:g}" * bool(below)
        marks.append(Mark(kind, _inside(truth.boxes[i] * scale, size), text, told))
    counts = {kind: sum(mark.kind == kind for mark in marks) for kind in COLOURS}
    row, hidden = int(samples.rows[place]), int((~shown).sum())
    return BoxPanel(reduced(picture, kept), size, _labelled(marks, size), row, precision, counts, hidden)


def _detections(found: Detections, rows: NDArray[np.int64]) -> Detections:
    """Some detections of one picture, which becomes the only one."""
    return Detections(np.zeros(len(rows), np.int64), found.boxes[rows], found.labels[rows], found.scores[rows])


def _objects(truth: Truth, place: int) -> Truth:
    """The objects of one picture, which becomes the only one."""
    rows = np.flatnonzero(truth.image == place)
    return Truth(1, np.zeros(len(rows), np.int64), truth.boxes[rows], truth.labels[rows], truth.difficult[rows])


def _inside(box: NDArray[np.floating[Any]], size: tuple[int, int]) -> Place:
    """The box with its lines inside the picture."""
    x1, y1, x2, y2 = np.clip(box, 1, [size[0] - 1, size[1] - 1] * 2).tolist()
    return x1, y1, x2, y2


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 2]}.."


def _decimals(score: float) -> str:
    return f"{score:.2f}".removeprefix("0") if score >= 0 else f"{score:.2f}"


def _labelled(marks: Sequence[Mark], size: tuple[int, int]) -> tuple[Mark, ...]:
    """The marks with places for their labels: at a corner of the box, inside the picture, over other labels where it must be.

    What was missed and what is certain choose first.
    """
    taken: list[Place] = []
    chips: dict[int, Place] = {}
    turns = sorted(range(len(marks)), key=lambda i: (marks[i].kind != "missed", -i))
    for i in turns:
        if marks[i].label:
            width = _LETTER * len(marks[i].label) + 2 * PADDING + (SIGN + 2 if marks[i].kind in SIGNS else 0)
            options = _corners(marks[i].box, width, size)
            chips[i] = min(options, key=lambda option: sum(_shared(option, other) for other in taken))
            taken.append(chips[i])
    return tuple(Mark(m.kind, m.box, m.label, m.told, chips.get(i)) for i, m in enumerate(marks))


def _corners(box: Place, width: float, size: tuple[int, int]) -> list[Place]:
    x1, y1, x2, y2 = box
    lefts, tops = (x1, x2 - width), (y1 - CHIP, y2, y1, y2 - CHIP)
    places = []
    for top in tops:
        for left in lefts:
            x, y = max(0.0, min(left, size[0] - width)), max(0.0, min(top, size[1] - CHIP))
            places.append((x, y, x + width, y + CHIP))
    return places


def _shared(one: Place, other: Place) -> float:
    """Pixels that two labels share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)


def sign_lines(mark: Mark) -> list[list[tuple[float, float]]]:
    """The lines of the sign in a mark's label, in pixels as shown; none where it has no label or its kind no sign."""
    if mark.chip is None:
        return []
    left, top, side = mark.chip[0] + PADDING, mark.chip[1] + (CHIP - SIGN + 2) / 2, SIGN - 2
    return [[(left + side * x, top + side * y) for x, y in line] for line in SIGNS.get(mark.kind, ())]
