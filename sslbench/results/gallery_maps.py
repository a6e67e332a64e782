"""What a gallery shows of dense prediction: a picture, its truth and its prediction side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sslbench.errors import RecordError
from sslbench.metrics.dense_kept import HIGHER_IS_BETTER, DenseSamples, KeptMaps
from sslbench.results.gallery_frame import Frame, Load, Shown, reduced, shown_sizes
from sslbench.results.gallery_maps_paint import painted
from sslbench.results.gallery_maps_words import map_caption, map_legend, map_text
from sslbench.results.marks import number_text

MAP_SIDE = 240
"""Pixels of the longer side of each of the three pictures as they are shown."""


@dataclass(frozen=True)
class MapPanel:
    """A picture, its truth and its prediction. row: in the test split. figure: of this picture alone. caption: two lines."""

    frames: tuple[Frame, ...]
    caption: tuple[str, str]
    row: int
    figure: float


@dataclass(frozen=True)
class MapChoice:
    """Kept maps of the worst pictures, the worst first, of some around the median, the worse first, and of the best, the best
    first; none is in two of them. judged: how many pictures have a figure.
    """

    worst: tuple[KeptMaps, ...]
    middle: tuple[KeptMaps, ...]
    best: tuple[KeptMaps, ...]
    judged: int


def show_maps(samples: DenseSamples, load: Load, count: int, figure: str, unit: str) -> Shown:
    """The worst pictures, those around the median and the best, `count` of each. figure, unit: what they were scored by.

    Raises RecordError where no picture has a figure, or one is of another shape than its maps.
    """
    choice = choose_maps(samples, count)
    worst, middle, best = (
        tuple(_panel(samples, one, load, figure, unit) for one in part)
        for part in (choice.worst, choice.middle, choice.best)
    )
    legend = map_legend(samples, (*choice.worst, *choice.middle, *choice.best))
    told = _told(samples, choice, figure)
    return Shown(figure, HIGHER_IS_BETTER[samples.kind], worst, best, told, legend, middle)


def choose_maps(samples: DenseSamples, count: int) -> MapChoice:
    """`count` of each, of few pictures a third of them. Among equals the order of the test split counts.

    Only so many are among the worst or best as were kept without a gap, so that none of them is left out. RecordError where no
    picture has a figure.
    """
    judged = np.flatnonzero(~np.isnan(samples.figures))
    if not judged.size:
        raise RecordError("no test picture has a pixel that counts, so that none is better than another")
    kept = {one.place: one for one in samples.kept}
    figures = samples.figures[judged] if HIGHER_IS_BETTER[samples.kind] else -samples.figures[judged]
    rising, falling = (judged[np.lexsort((judged, values))].tolist() for values in (figures, -figures))
    share = min(count, -(-len(judged) // 3))
    worst = _leading(rising, kept)[:share]
    best = [place for place in _leading(falling, kept)[:share] if place not in worst]
    median = float(np.median(samples.figures[judged]))
    others = sorted(kept.keys() - {*worst, *best}, key=lambda place: (abs(samples.figures[place] - median), place))
    middle = sorted(others[:share], key=rising.index)
    shown = [tuple(kept[place] for place in part) for part in (worst, middle, best)]
    return MapChoice(shown[0], shown[1], shown[2], len(judged))


def _leading(ranked: Iterable[int], kept: dict[int, KeptMaps]) -> list[int]:
    leading: list[int] = []
    for place in ranked:
        if place not in kept:
            break
        leading.append(place)
    return leading


def _panel(samples: DenseSamples, one: KeptMaps, load: Load, figure: str, unit: str) -> MapPanel:
    row, (high, wide) = int(samples.rows[one.place]), one.size
    picture = load(row)
    # A protocol may score at another size than the picture's, but not another part of it.
    if abs(picture.width * high - picture.height * wide) > max(picture.size) + max(high, wide):
        raise RecordError(
            f"its maps in test row {row} are of a picture of {wide} x {high} pixels, but it has {picture.width} x "
            f"{picture.height}; run the case again"
        )
    size, stored = shown_sizes(wide, high, MAP_SIDE)
    value = float(samples.figures[one.place])
    name = f"row {row}: {figure} {number_text(value, unit)}" + f" {unit}" * (unit != "%")
    frames = [Frame(reduced(picture, stored), size, f"Test picture in row {row}.", title="Picture")]
    for title, maps, told in zip(("Truth", "Prediction"), painted(one, size), map_text(samples, one), strict=True):
        frames.append(Frame(maps, size, f"{title}: {told}.", title=title, exact=True))
    return MapPanel(tuple(frames), (name, map_caption(samples, one)), row, value)


def _told(samples: DenseSamples, choice: MapChoice, figure: str) -> tuple[str, ...]:
    told = [
        f"Chosen by {figure} of each picture alone. Shown are {len(choice.worst)} of the worst, {len(choice.middle)} around the "
        f"median and {len(choice.best)} of the best of {choice.judged} test pictures. Maps of {len(samples.kept)} pictures were "
        "kept, of which those around the median are the nearest to it.",
    ]
    if left := len(samples.rows) - choice.judged:
        told.append(f"Pictures without a pixel that counts have no {figure} and are never shown: {left}.")
    if any(one.truth.shape[:2] != one.size for one in samples.kept):
        told.append("Maps are shown from fewer pixels than were scored.")
    return tuple(told)
