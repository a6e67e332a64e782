"""What a classifier confuses, as parts of its case's section."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslbench.report.document import head, number, row_head, scrolled, table
from sslbench.report.mistakes import Mistake, confusion_matrix, most_confused
from sslbench.report.thumbnails import NO_ROOM, Thumbnails

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST, PAIRS = 30, 10
"""Classes of the largest matrix that is shown whole, and how many pairs stand for a larger one."""


def confusion_part(
    decision: NDArray[Any], targets: NDArray[np.int64], classes: Sequence[str], *, whole: bool = True
) -> str:
    """The matrix of up to 30 classes, of more, or where not `whole`, the pairs that are most confused."""
    confusion = confusion_matrix(decision, targets)
    if whole and len(classes) <= LARGEST:
        return _matrix(confusion, classes)
    return _pairs(confusion, classes)


def _matrix(confusion: NDArray[np.int64], classes: Sequence[str]) -> str:
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    # Mistakes are few of any class: their colours are told apart among themselves.
    most, rows = float(shares.max()) or 1.0, []
    for true, counts in enumerate(confusion.tolist()):
        cells = "".join(
            _count(count, 100 * shares[true, taken] / most, true == taken) for taken, count in enumerate(counts)
        )
        rows.append(f"<tr>{row_head(classes[true])}{cells}</tr>")
    body = table(head("True class") + "".join(map(head, classes)), rows, kind="pinned matrix compact")
    return (
        "<h3>What is taken for what</h3>\n<p>Test pictures of the class on the left that were taken for the class above; the "
        "larger the part of its class, the stronger the colour. Empty: none.</p>\n" + scrolled(body, "Confusion matrix")
    )


def _count(count: int, heat: float, right: bool) -> str:
    if not count:
        return "<td></td>"
    if right:
        return f'<td class="self">{count}</td>'
    return f'<td class="heat" style="--heat: {heat:.0f}%">{count}</td>'


def _pairs(confusion: NDArray[np.int64], classes: Sequence[str]) -> str:
    pairs = most_confused(confusion, PAIRS)
    if not pairs:
        return ""
    rows = [
        f"<tr>{row_head(classes[pair.true])}<td>{escape(classes[pair.taken])}</td>{number(str(pair.pictures))}"
        f"{number(f'{100 * pair.share:.1f}')}</tr>"
        for pair in pairs
    ]
    heads = head("True class") + head("Taken for")
    heads += head("Pictures", number=True) + head("Of its class", small="%", number=True)
    body = scrolled(table(heads, rows, kind="pinned"), "Most confused pairs of classes")
    return f"<h3>Most confused classes</h3>\n<p>The {len(pairs)} pairs with the most mistakes.</p>\n{body}"


def mistakes_part(
    mistakes: Sequence[Mistake], classes: Sequence[str], load: Callable[[int], Image], thumbnails: Thumbnails
) -> str:
    """Pictures of the worst mistakes with what they are and what they were taken for."""
    figures, full = [], False
    for row, true, taken in mistakes:
        told = f"is {classes[true]}, taken for {classes[taken]}"
        image = thumbnails.image(load(row), f"Test picture in row {row}: {told}")
        full |= not image
        if image:
            first, second = f"is {escape(classes[true])}", f"taken for {escape(classes[taken])}, row {row}"
            figures.append(f"<figure>{image}<figcaption>{first}<span>{second}</span></figcaption></figure>")
    shown = f'<div class="pictures">{"".join(figures)}</div>' if figures else ""
    return (
        "<h3>Worst mistakes</h3>\n<p>The test pictures on which the class that was decided leads furthest before the true one."
        f"</p>\n{shown}{f'<p>{NO_ROOM}</p>' if full else ''}"
    )
