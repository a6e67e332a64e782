"""Do backbones differ in rank over many tasks, and which from which (Demšar, JMLR 7 (2006) 1-30)?

The tasks are the sample: what is asked is whether another drawing of tasks would give the same order. They are taken as drawn
independently. Tasks that share pictures or a protocol are not, so that all p here are smaller than they should be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from sslbench.analyses.block import Block
from sslbench.errors import RecordError
from sslbench.results.pairing import LEVEL
from sslbench.results.statistics import holm

Pair = tuple[str, str]


@dataclass(frozen=True)
class Friedman:
    """Of K backbones on N items: chi2 with K - 1 degrees of freedom, corrected for ties, and Iman and Davenport's F of it.

    F has K - 1 and (K - 1)(N - 1) degrees of freedom; it is infinite where every item gives the same order.
    """

    chi2: float
    p: float
    f: float
    f_p: float
    backbones: int
    items: int


def friedman(block: Block) -> Friedman:
    """Friedman's test that all backbones have the same mean rank (Demšar 2006, section 3.2.2).

    Raises RecordError for fewer than 3 backbones or 2 items.
    """
    from scipy.special import chdtrc, fdtrc

    k, n = len(block.backbones), len(block.items)
    if k < 3 or n < 2:
        raise RecordError(f"Friedman's test takes 3 backbones and 2 tasks that all have, got {k} and {n}")
    ranks = block.ranks
    spread = float(np.sum((ranks - (k + 1) / 2) ** 2))
    if not spread:
        # Every backbone equal on every item.
        return Friedman(0.0, 1.0, 0.0, 1.0, k, n)
    chi2 = n * (k - 1) * float(np.sum((ranks.sum(axis=1) - n * (k + 1) / 2) ** 2)) / (n * spread)
    rest = n * (k - 1) - chi2
    f = (n - 1) * chi2 / rest if rest > 1e-9 else math.inf
    f_p = float(fdtrc(k - 1, (k - 1) * (n - 1), f)) if math.isfinite(f) else 0.0
    return Friedman(chi2, float(chdtrc(k - 1, chi2)), f, f_p, k, n)


def mean_ranks(block: Block) -> dict[str, float]:
    """By backbone, the best first; 1 is the best."""
    means = dict(zip(block.backbones, block.ranks.mean(axis=1).tolist(), strict=True))
    return dict(sorted(means.items(), key=lambda pair: pair[1]))


@lru_cache(maxsize=64)
def _critical(k: int, level: float) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - level, k, np.inf))


def critical_difference(k: int, n: int, level: float = LEVEL) -> float:
    """Nemenyi's: two of K mean ranks over N items differ at `level` if they are at least so far apart (Demšar 2006, 3.2.2)."""
    return _critical(k, level) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))


def nemenyi(block: Block) -> dict[Pair, float]:
    """Two-sided p for every pair, adjusted for all of them by the distribution of the range of K normal deviates."""
    from scipy.stats import studentized_range

    k, n = len(block.backbones), len(block.items)
    means = block.ranks.mean(axis=1)
    pairs = list(combinations(range(k), 2))
    ranges = np.array([abs(means[i] - means[j]) for i, j in pairs]) / math.sqrt(k * (k + 1) / (6 * n)) * math.sqrt(2)
    ps = np.clip(studentized_range.sf(ranges, k, np.inf), 0.0, 1.0)
    return {(block.backbones[i], block.backbones[j]): float(p) for (i, j), p in zip(pairs, ps, strict=True)}


def wilcoxon_holm(block: Block) -> dict[Pair, float]:
    """Wilcoxon's signed-rank test for every pair, two-sided, with Holm's adjustment over the pairs.

    Differences are of standardised gains, since those of degrees and of % have no common order. Differences of 0 are dropped; a
    pair without any other has p = 1.
    """
    from scipy.stats import wilcoxon

    values = block.standardised
    pairs = list(combinations(range(len(block.backbones)), 2))
    if not pairs:
        return {}
    # Rounding must not break ties or make differences of equal scores.
    differences = [np.round(values[i] - values[j], 12) for i, j in pairs]
    raw = [float(wilcoxon(d).pvalue) if np.any(d) else 1.0 for d in differences]
    return {(block.backbones[i], block.backbones[j]): p for (i, j), p in zip(pairs, holm(raw), strict=True)}


def groups(names: Sequence[str], p: Mapping[Pair, float], level: float = LEVEL) -> list[tuple[str, ...]]:
    """The largest sets of backbones no two of which are separated, for the bars of a critical-difference diagram.

    names: in the order that the members of a group shall have, such as that of `mean_ranks`. A backbone separated from all others
    is in none. p: of every pair, in either order.
    """
    near = {name: {other for other in names if other != name and _p(p, name, other) > level} for name in names}
    found: list[frozenset[str]] = []

    # Bron and Kerbosch, "Finding all cliques of an undirected graph", Communications of the ACM 16 (1973) 575-577, with a pivot.
    def extend(clique: frozenset[str], possible: set[str], done: set[str]) -> None:
        if not possible and not done:
            found.append(clique)
            return
        pivot = max(possible | done, key=lambda name: len(near[name] & possible))
        for name in sorted(possible - near[pivot]):
            extend(clique | {name}, possible & near[name], done & near[name])
            possible, done = possible - {name}, done | {name}

    extend(frozenset(), set(names), set())
    place = {name: index for index, name in enumerate(names)}
    ordered = [tuple(sorted(clique, key=place.__getitem__)) for clique in found if len(clique) > 1]
    return sorted(ordered, key=lambda clique: [place[name] for name in clique])


def _p(p: Mapping[Pair, float], first: str, second: str) -> float:
    return p[first, second] if (first, second) in p else p[second, first]


def separated_from(name: str, others: Iterable[str], p: Mapping[Pair, float], level: float = LEVEL) -> list[str]:
    """Those of the others that are separated from a backbone."""
    return [other for other in others if other != name and _p(p, name, other) <= level]
