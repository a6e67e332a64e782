"""One line a backbone over many items: mean rank, mean standardised score, mean log-odds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sslbench.analyses.block import Block, block
from sslbench.analyses.correlation import CLIP, scale_of, scaled
from sslbench.analyses.sheet import Item, Sheet
from sslbench.analyses.wins import contrast, outcomes
from sslbench.metrics.score import Z95
from sslbench.results.pairing import LEVEL


@dataclass(frozen=True)
class Mean:
    """A mean over items with its 95 % interval; None where an item has no standard error."""

    value: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Summary:
    """A backbone over `items` items.

    rank: mean rank, and the means of the best and the worst rank that the data allow on each item (None where nothing can be
    tested). z: mean of the scores less their mean over the backbones, by their standard deviation. log_odds: mean over the
    items that are on that scale, None where there is none.
    """

    backbone: str
    items: int
    rank: Mean
    z: Mean
    log_odds: Mean | None


def summaries(sheet: Sheet, items: Iterable[Item] = (), backbones: Sequence[str] = ()) -> list[Summary]:
    """The backbones by mean rank, the best first, over the items that all of them have (`block` says which are left out).

    Intervals are of the drawing of test items. Since items may share test pictures, the standard error of a mean is the mean of
    the items' own, an upper limit; that of log-odds is the score's, divided by p (1 - p).
    """
    made = block(sheet, items, backbones)
    ranges = _rank_ranges(sheet, made)
    logged = [item for item in made.items if scale_of(item) == "log-odds" and item.higher_is_better]
    found = []
    for row, name in enumerate(made.backbones):
        ends = None if ranges is None else (float(ranges[row, :, 0].mean()), float(ranges[row, :, 1].mean()))
        rank = Mean(float(made.ranks[row].mean()), ends)
        found.append(Summary(name, len(made.items), rank, _z(sheet, made, row), _log_odds(sheet, logged, name)))
    return sorted(found, key=lambda summary: (summary.rank.value, summary.backbone))


def _z(sheet: Sheet, made: Block, row: int) -> Mean:
    spread = made.gains.std(axis=0)
    errors = [sheet.cells[made.backbones[row], item].stderr for item in made.items]
    ratios = [None if e is None else e / s if s else 0.0 for e, s in zip(errors, spread, strict=True)]
    return _mean(made.standardised[row].tolist(), ratios)


def _log_odds(sheet: Sheet, items: Sequence[Item], name: str) -> Mean | None:
    cells = [(item, sheet.cells[name, item]) for item in items]
    if not cells:
        return None
    errors = []
    for item, cell in cells:
        scale = 100 if item.unit == "%" else 1
        p = min(max(cell.value / scale, CLIP), 1 - CLIP)
        errors.append(None if cell.stderr is None else cell.stderr / scale / (p * (1 - p)))
    return _mean([float(scaled(item, [cell.value])[0]) for item, cell in cells], errors)


def _mean(values: Sequence[float], errors: Sequence[float | None]) -> Mean:
    value = math.fsum(values) / len(values)
    known = [error for error in errors if error is not None]
    if len(known) < len(errors):
        return Mean(value, None)
    half = Z95 * math.fsum(known) / len(known)
    return Mean(value, (value - half, value + half))


def _rank_ranges(sheet: Sheet, made: Block) -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]] | None:
    """(K, N, 2) best and worst rank on each item, None where a pair has no p."""
    k = len(made.backbones)
    ranges = np.empty((k, len(made.items), 2))
    for place, item in enumerate(made.items):
        cells = [sheet.cells[name, item] for name in made.backbones]
        pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
        contrasts = [contrast(item, cells[i], cells[j]) for i, j in pairs]
        if any(one.p is None for one in contrasts):
            return None
        ranges[:, place, 0], ranges[:, place, 1] = 1, k
        for (i, j), judged in zip(pairs, outcomes(contrasts, LEVEL), strict=True):
            if judged != "open":
                winner, loser = (i, j) if judged == "win" else (j, i)
                ranges[loser, place, 0] += 1
                ranges[winner, place, 1] -= 1
    return ranges
