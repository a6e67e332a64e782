"""Where a network looks, from how far its features move when a window of the picture is covered.

Ericsson et al. 2021, section 4.9 and appendix A.9; the map is that of occlusion sensitivity (Zeiler and Fergus 2014), each
pixel the mean over the windows that cover it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sslbench.metrics.resampling import RESAMPLES, Pooled, Scale, pooled_scores
from sslbench.metrics.score import Score

MAIN = "attentive_diffusion"
# The direction is nominal: less diffuse is no better. A falling score enters no mean over tasks (`results/ranks.py`).
_DIFFUSION = Scale(higher_is_better=False)
_ABOVE_AREA = Scale(limits=(-100.0, 100.0))


def attention_map(
    distances: NDArray[np.floating], tops: Sequence[int], lefts: Sequence[int], window: int, size: tuple[int, int]
) -> NDArray[np.float64]:
    """The mean, for each pixel, over the windows that cover it: float64 (H, W).

    Where all windows at stride 1 are there, what lies `window - 1` pixels and more from the border is the distances' average
    pooling at stride 1.

    Args:
        distances: (P, Q), of the window whose upper left corner is at tops[p], lefts[q].
        tops, lefts: of the windows, in pixels.
        window: side of a window in pixels.
        size: (H, W) of the picture.

    Raises:
        ValueError: distances of another shape, or a pixel that no window covers.
    """
    distances = np.asarray(distances, dtype=np.float64)
    if distances.shape != (len(tops), len(lefts)):
        raise ValueError(f"distances: expected shape ({len(tops)}, {len(lefts)}), got {distances.shape}")
    down, across = (_covered(starts, window, side) for starts, side in zip((tops, lefts), size, strict=True))
    count = np.outer(down.sum(axis=0), across.sum(axis=0))
    if not count.all():
        raise ValueError(f"{int((count == 0).sum())} of {count.size} pixels are covered by no window")
    return (down.T @ distances @ across) / count


def _covered(starts: Sequence[int], window: int, side: int) -> NDArray[np.float64]:
    """(P, side) of 1 where a window lies."""
    first, pixel = np.asarray(starts)[:, None], np.arange(side)
    return ((first <= pixel) & (pixel < first + window)).astype(np.float64)


def attentive_diffusion(attention: NDArray[np.floating]) -> float:
    """The share of a map's pixels that are above its mean, in %."""
    return 100 * float((attention > attention.mean()).mean())


@dataclass(frozen=True)
class Attention:
    """Scores of the maps of a test set. each: the diffusion of a picture (N,). resampled: a score on the resamples (R,)."""

    scores: dict[str, Score]
    each: NDArray[np.float64]
    resampled: dict[str, NDArray[np.float64]]


def attention_scores(
    maps: NDArray[np.floating], objects: NDArray[np.uint8] | None = None, *, resamples: int = RESAMPLES
) -> Attention:
    """Means over the pictures of a test set, each with its standard error over the pictures.

    `attentive_diffusion`; and with objects `attention_on_object`, the part of a map's sum that lies on them, `object_area`, the
    part of the pixels that they are, `attention_excess`, the difference of the two, 0 for who looks everywhere alike, and
    `pointing_game`, whether the largest value lies on an object (Zhang et al. 2018, arXiv 1608.00507; without its tolerance),
    all in %.

    Args:
        maps: (N, H, W), not negative.
        objects: uint8 (N, H, W) of 1 on objects, 0 beside them and 2 where nobody knows, which counts for neither; None where
            there is no such truth.

    Raises:
        ValueError: no map, maps that are not finite or without a positive value, objects of another shape, or a picture of
            which no pixel is known.
    """
    maps = np.asarray(maps, dtype=np.float64)
    if maps.ndim != 3 or not maps.size or not np.isfinite(maps).all() or (maps < 0).any():
        raise ValueError(f"maps: expected finite numbers (N, H, W) that are not negative, got shape {maps.shape}")
    if flat := np.flatnonzero(maps.max(axis=(1, 2)) <= 0).tolist():
        raise ValueError(f"maps: nothing in picture {flat[0]} moves the features, so that no attention can be scored")
    each = np.array([attentive_diffusion(attention) for attention in maps])
    figures = {MAIN: (each, _DIFFUSION)}
    if objects is not None:
        if objects.shape != maps.shape:
            raise ValueError(f"objects: expected shape {maps.shape}, that of the maps, got {objects.shape}")
        on, area, pointing = np.array([_on_object(*pair) for pair in zip(maps, objects, strict=True)]).T
        figures |= {
            "attention_on_object": (on, Scale()),
            "object_area": (area, Scale()),
            "attention_excess": (on - area, _ABOVE_AREA),
            "pointing_game": (pointing, Scale()),
        }
    ones = np.ones(len(maps))
    scored = pooled_scores(
        {
            name: Pooled(np.stack([values, ones], axis=1), lambda sums: float(sums[0] / sums[1]), scale)
            for name, (values, scale) in figures.items()
        },
        resamples=resamples,
    )
    scores = {name: score for name, (score, _) in scored.items()}
    return Attention(scores, each, {name: values for name, (_, values) in scored.items()})


def _on_object(attention: NDArray[np.float64], code: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Share of the attention and of the pixels, and whether the largest value is there, in %."""
    known, inside = code != 2, code == 1
    if not attention[known].sum() > 0:
        raise ValueError("objects: expected a picture to have pixels of which the object or its absence is known")
    largest = np.where(known, attention, -1.0).argmax()
    return (
        100 * float(attention[inside].sum() / attention[known].sum()),
        100 * float(inside.sum() / known.sum()),
        100 * float(inside.flat[largest]),
    )
