"""What is to be seen on maps, in words: captions, alternative texts and the legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.dense_kept import DenseSamples, KeptMaps
from sslbench.results.gallery_colours import STRIPES, as_hex, class_colours, normal_picture, ramp_picture
from sslbench.results.gallery_frame import Entry

_NAMED = 5
_STEPS = 21


def map_caption(samples: DenseSamples, one: KeptMaps) -> str:
    """The second line under a picture: what went wrong most, or how large angles or distances are."""
    if samples.kind == "masks":
        return _confused(samples.classes, one)
    if samples.kind == "depth":
        there, found = map_text(samples, one)
        return f"true {there}, predicted {found}"
    angles = _angles(one)
    if not angles.size:
        return "too small to tell"
    half, most = np.percentile(angles, (50, 90))
    return f"half of the angles up to {half:.0f}, nine tenths up to {most:.0f} degrees"


def map_text(samples: DenseSamples, one: KeptMaps) -> tuple[str, str]:
    """Truth and prediction, for those who do not see them."""
    if samples.kind == "masks":
        there, found = one.truth[one.counted], one.predicted[one.counted]
        return _shares(samples.classes, there), _shares(samples.classes, found)
    if samples.kind == "normals":
        return "directions as colours", map_caption(samples, one)
    there, found = one.truth[one.counted], one.predicted[one.counted]
    texts = [f"{part.min():.1f} to {part.max():.1f} m" if part.size else "too small to tell" for part in (there, found)]
    return texts[0], texts[1]


def map_legend(samples: DenseSamples, shown: Sequence[KeptMaps]) -> tuple[Entry, ...]:
    """Every colour of what is shown."""
    if samples.kind == "masks":
        there = [labels for one in shown for labels in (one.truth[one.counted], one.predicted.ravel())]
        colours = class_colours()
        entries = [
            Entry(samples.classes[label], colours=(as_hex(colours[label % len(colours)]),))
            for label in np.unique(np.concatenate(there)).tolist()
        ]
        none = "does not count"
    elif samples.kind == "normals":
        axes = (("to the right", (127, 0, 0)), ("upwards", (0, 127, 0)), ("towards the camera", (0, 0, 127)))
        entries = [Entry(text, colours=(as_hex(normal_picture(np.array(axis, np.int8))),)) for text, axis in axes]
        none = "no true normal"
    else:
        ramp = ramp_picture(np.linspace(0, 1, _STEPS), 0, 1)
        entries = [
            Entry(
                "near to far, from the least to the largest true depth of each picture",
                colours=tuple(map(as_hex, ramp)),
            )
        ]
        none = "no true depth"
    if not all(one.counted.all() for one in shown):
        entries.append(Entry(none, colours=tuple(map(as_hex, STRIPES)), striped=True))
    return tuple(entries)


def _confused(classes: Sequence[str], one: KeptMaps) -> str:
    wrong = one.counted & (one.truth != one.predicted)
    total = int(one.counted.sum())
    if not wrong.any():
        return "nothing wrong" if total else "too small to tell"
    pairs = np.stack([one.truth[wrong], one.predicted[wrong]], axis=1).astype(np.int64)
    kinds, pixels = np.unique(pairs, axis=0, return_counts=True)
    true, found = kinds[pixels.argmax()].tolist()
    return f"{100 * wrong.sum() / total:.0f} % wrong, most of it {classes[true]} taken for {classes[found]}"


def _shares(classes: Sequence[str], labels: NDArray[np.integer[Any]]) -> str:
    """The classes with the most pixels."""
    kinds, pixels = np.unique(labels, return_counts=True)
    order = np.argsort(-pixels, kind="stable")
    named = [f"{classes[kinds[i]]} {100 * pixels[i] / labels.size:.0f} %" for i in order[:_NAMED]]
    more = [f"{len(order) - _NAMED} more classes"] * (len(order) > _NAMED)
    return ", ".join(named + more) or "too small to tell"


def _angles(one: KeptMaps) -> NDArray[np.float64]:
    """Degrees between the kept normals, which are off by half a degree."""
    there, found = one.truth[one.counted].astype(np.float64), one.predicted[one.counted].astype(np.float64)
    lengths = np.linalg.norm(there, axis=1) * np.linalg.norm(found, axis=1)
    cosines = (there * found).sum(axis=1)[lengths > 0] / lengths[lengths > 0]
    angles: NDArray[np.float64] = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    return angles
