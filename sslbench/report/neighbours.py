"""Test pictures beside the pictures that a nearest-neighbour vote found nearest to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslbench.report.mistakes import worst_mistakes
from sslbench.report.thumbnails import NO_ROOM, Thumbnails

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 3
"""Test pictures of each kind: decided wrongly, and rightly."""

_SIDE = 64


@dataclass(frozen=True)
class Neighbours:
    """Of N test pictures the nearest of the bank, the nearest first.

    split: (N, k), 0 for a picture of train, 1 for one of val. rows: (N, k), its row there. labels: (N, k), its class.
    similarity: (N, k), the cosine.
    """

    split: NDArray[np.int64]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    similarity: NDArray[np.float64]


def neighbours_of(
    arrays: Mapping[str, NDArray[Any]], train: NDArray[np.int64], val: NDArray[np.int64]
) -> Neighbours | None:
    """The neighbours among a case's samples; None where it has none, as of another protocol or an earlier run.

    train, val: the classes of all pictures of these splits. Raises ValueError where the samples do not fit them.
    """
    if "neighbours" not in arrays or "neighbour_similarity" not in arrays:
        return None
    found, similarity = arrays["neighbours"].astype(np.int64), arrays["neighbour_similarity"]
    expected = (len(arrays["targets"]), *found.shape[1:2])
    if found.ndim != 2 or found.shape != expected or similarity.shape != expected:
        raise ValueError(
            f"expected neighbours and their similarities (N, k) of {expected[0]} test pictures, got {found.shape} and "
            f"{similarity.shape}; run the case again"
        )
    labels = np.concatenate([train, val])
    if not 0 <= found.min(initial=0) <= found.max(initial=0) < len(labels):
        raise ValueError(
            f"expected neighbours from 0 to {len(labels) - 1}, as many as train and val have pictures, got {found.min()} to "
            f"{found.max()}; run the case again"
        )
    split = (found >= len(train)).astype(np.int64)
    return Neighbours(split, found - split * len(train), labels[found], similarity.astype(np.float64))


def shown_rows(decision: NDArray[Any], targets: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """The rows of the worst mistakes, and rows evenly spaced among those that were decided rightly."""
    wrong = [mistake.row for mistake in worst_mistakes(decision, targets, SHOWN)]
    right = np.flatnonzero(decision.argmax(axis=1) == targets)
    places = np.unique(np.linspace(0, len(right) - 1, SHOWN).round().astype(int))
    return wrong, right[places].tolist() if len(right) else []


def neighbours_part(
    decision: NDArray[Any], targets: NDArray[np.int64], found: Neighbours, classes: Sequence[str],
    load: Mapping[str, Callable[[int], Image]], thumbnails: Thumbnails,
) -> str:  # fmt: skip
    """Some mistakes and some right decisions, each with the pictures nearest to it. load: by split, a picture from its row."""
    rows = shown_rows(decision, targets)
    parts, full = [], False
    for heading, chosen in zip(("Decided wrongly", "Decided rightly"), rows, strict=True):
        figures = [_figure(row, decision, targets, found, classes, load, thumbnails) for row in chosen]
        full |= not all(figures)
        if any(figures):
            parts.append(f'<h4>{heading}</h4>\n<div class="pictures">{"".join(figures)}</div>')
    body = "\n".join(parts)
    return (
        f"<h3>Nearest neighbours</h3>\n<p>The worst mistakes, and some pictures that were decided rightly, on the left; beside "
        f"each the {found.rows.shape[1]} pictures of train and val nearest to it, the nearest first, with their cosine "
        "similarity. ✓ in a solid frame: of the same class as the test picture; ✗ in a dashed one: of another. More "
        f"neighbours than these vote.</p>\n{body}{f'<p>{NO_ROOM}</p>' if full else ''}"
    )


def _figure(
    row: int, decision: NDArray[Any], targets: NDArray[np.int64], found: Neighbours, classes: Sequence[str],
    load: Mapping[str, Callable[[int], Image]], thumbnails: Thumbnails,
) -> str:  # fmt: skip
    """Nothing where the page has no room for one of its pictures."""
    true, taken = int(targets[row]), int(decision[row].argmax())
    told = f"is {classes[true]}" + ("" if taken == true else f", taken for {classes[taken]}")
    images = [thumbnails.image(load["test"](row), f"Test picture in row {row}: {told}")]
    frames = [f'<div class="query">{images[0]}</div>']
    for split, place, label, similarity in zip(
        found.split[row].tolist(), found.rows[row].tolist(), found.labels[row].tolist(), found.similarity[row].tolist(),
        strict=True,
    ):  # fmt: skip
        name = ("train", "val")[split]
        images.append(thumbnails.image(load[name](place), f"Row {place} of {name}: {classes[label]}", side=_SIDE))
        kind, sign = ("same", "✓") if label == true else ("other", "✗")
        frames.append(
            f'<div class="near {kind}">{images[-1]}<b>{sign} {escape(classes[label])}</b>'
            f"<span>{similarity:.3f}</span></div>"
        )
    if not all(images):
        return ""
    first, _, second = told.partition(", ")
    caption = f"{escape(first)}<span>{escape(', '.join(filter(None, (second, f'row {row}'))))}</span>"
    return f'<figure><div class="frames">{"".join(frames)}</div><figcaption>{caption}</figcaption></figure>'
