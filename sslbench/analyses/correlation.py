"""How scores of backbones go with their upstream scores, as the study's figures 1 and 2 have it (its appendix A.7)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sslbench.analyses.sheet import Item, Sheet
from sslbench.metrics.score import Z95

CLIP = 1e-6
"""Fractions are kept this far from 0 and 1, where log-odds have no end."""
FEWEST = 4
"""Backbones below which no interval can be given: the standard error of Fisher's z is 1 / sqrt(n - 3)."""
# Figures of what a network sees are reported as they are; only a task's errors are turned, so that more is better.
_AS_THEY_ARE = ("inversion", "occlusion")
# In % and no share of anything: a difference of two shares, which may be negative.
_DIFFERENCES = ("attention_excess",)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Coefficient:
    """A correlation in [-1, 1]; nan where it is undefined, and then, or where backbones are too few, no interval and no p.

    A Spearman's rho of 1 or -1 has no interval either: few backbones are in one order by chance, and Fisher's z has no end.
    """

    value: float
    ci95: tuple[float, float] | None
    p: float | None


@dataclass(frozen=True)
class Correlation:
    """Of one item, or of the mean over the items of a setting, with the upstream score.

    name: the task and its score, or the setting. n: backbones in it. left_out: those with an upstream score that lack a score
    here. note: what cannot be given and why; empty where nothing is missing.
    """

    name: str
    n: int
    pearson: Coefficient
    spearman: Coefficient
    backbones: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    note: str = ""


def log_odds(fraction: npt.ArrayLike) -> Array:
    """ln(p / (1 - p)) of fractions in [0, 1], clipped to [1e-6, 1 - 1e-6].

    Raises ValueError for what is no fraction: a percentage that was not divided would pass for 1 otherwise.
    """
    p = np.asarray(fraction, dtype=np.float64)
    if np.any(~((p >= 0) & (p <= 1))):
        raise ValueError(f"log-odds are of fractions in [0, 1], got {p[~((p >= 0) & (p <= 1))].flat[0]}")
    p = np.clip(p, CLIP, 1 - CLIP)
    return np.asarray(np.log(p) - np.log1p(-p))


def scale_of(item: Item) -> str:
    """On which scale an item is correlated: `log-odds`, `as it is` or `negated`.

    Log-odds for what is in % and for LPIPS, in their own direction (so of calibration errors too). Angles and other errors of a
    task are negated, so that more is better; errors of reconstructed colours stay as they are, and so does what is in % and
    beyond 0 to 100, or a difference of two shares.
    """
    if item.score in _DIFFERENCES:
        return "as it is"
    # A relative error of depth is in % and may be beyond 100.
    share = item.unit == "%" and item.bounded and (item.higher_is_better or item.protocol != "depth")
    if share or item.score.startswith("lpips"):
        return "log-odds"
    return "as it is" if item.higher_is_better or item.protocol in _AS_THEY_ARE else "negated"


def scaled(item: Item, values: npt.ArrayLike) -> Array:
    """Values of an item on the scale of `scale_of`."""
    array = np.asarray(values, dtype=np.float64)
    if scale_of(item) != "log-odds":
        return -array if scale_of(item) == "negated" else array
    fractions = array / 100 if item.unit == "%" else array
    # LPIPS has no upper end, but nothing that can be recognised is beyond 1.
    return log_odds(fractions if item.unit == "%" else np.minimum(fractions, 1.0))


def correlation(x: npt.ArrayLike, y: npt.ArrayLike, name: str = "", backbones: Sequence[str] = ()) -> Correlation:
    """Pearson's r and Spearman's rho with 95 % intervals and two-sided p.

    r: Fisher's z +- 1.96 / sqrt(n - 3). rho, of average ranks: the same with the variance (1 + rho^2 / 2) / (n - 3) of Bonett and
    Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations", Psychometrika 65 (2000) 23-28.
    p: from Student's t with n - 2 degrees of freedom; of a rho of 1 or -1 the part of the n! orders that are as far from no
    correlation. Fewer than 4 points have no interval, fewer than 3 and points of which all have one value no coefficient; `note`
    says so.

    Args:
        x, y: (n,) finite.

    Raises:
        ValueError: other shapes, or a number that is not finite.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or not np.all(np.isfinite([first, second])):
        raise ValueError(
            f"expected two rows of finite numbers of one length, got shapes {first.shape} and {second.shape}"
        )
    n, unknown = first.size, Coefficient(math.nan, None, None)
    if n < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        note = f"no correlation of {n} backbones" if n < 3 else "no correlation: all have one value"
        return Correlation(name, n, unknown, unknown, tuple(backbones), note=note)
    r = float(np.corrcoef(first, second)[0, 1])
    ranks = average_ranks(first)
    rho = float(np.corrcoef(ranks, average_ranks(second))[0, 1])
    note = f"no interval: {n} backbones, and it takes {FEWEST}" if n < FEWEST else ""
    monotone = abs(rho) > 1 - 1e-12
    spearman = _monotone(rho, ranks) if monotone else _coefficient(rho, n, 1 + rho**2 / 2)
    return Correlation(name, n, _coefficient(r, n, 1.0), spearman, tuple(backbones), note=note)


def _monotone(rho: float, ranks: Array) -> Coefficient:
    """Of ranks that all agree, or all are reversed: by the permutations that give the same, of which ties make more."""
    _, counts = np.unique(ranks, return_counts=True)
    alike = math.prod(math.factorial(count) for count in counts.tolist())
    return Coefficient(math.copysign(1.0, rho), None, min(1.0, 2 * alike / math.factorial(ranks.size)))


def _coefficient(value: float, n: int, variance: float) -> Coefficient:
    from scipy.special import stdtr

    value = max(-1.0, min(1.0, value))
    rest = 1 - value**2
    p = 2 * float(stdtr(n - 2, -abs(value) * math.sqrt((n - 2) / rest))) if rest > 0 else 0.0
    if n < FEWEST:
        return Coefficient(value, None, p)
    if rest <= 0:
        return Coefficient(value, (value, value), p)
    half = Z95 * math.sqrt(variance / (n - 3))
    return Coefficient(value, (math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half)), p)


def average_ranks(values: npt.ArrayLike) -> Array:
    """(n,) ranks from 1, the smallest value first; ties share the mean of their places."""
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def mean_scaled(sheet: Sheet, items: Sequence[Item], backbones: Iterable[str]) -> dict[str, float]:
    """The mean over items, each on its own scale, of the backbones that have all of them."""
    columns = [(item, sheet.column(item)) for item in items]
    whole = [name for name in backbones if columns and all(name in column for _, column in columns)]
    rows = [scaled(item, [column[name].value for name in whole]) for item, column in columns]
    return dict(zip(whole, np.mean(rows, axis=0).tolist(), strict=True)) if whole else {}


def correlate(
    sheet: Sheet, items: Item | Sequence[Item], name: str = "", among: Collection[str] | None = None
) -> Correlation:
    """The correlation of log-odds of the upstream score with an item, or with the mean over several.

    Backbones are those that are no controls, have an upstream score and every item; `among`: only these, by default all.
    Of one network under several options the shortest name counts, since its copies are no further backbones. Items of a mean
    must be on one scale. Raises ValueError for items on several, and for none.
    """
    items = [items] if isinstance(items, Item) else list(items)
    scales = sorted({scale_of(item) for item in items})
    if len(scales) != 1:
        raise ValueError(f"a correlation is of items on one scale, got {', '.join(scales) or 'no item'}")
    known = [name for name in sheet.trained if name in sheet.upstream and (among is None or name in among)]
    whole = mean_scaled(sheet, items, known)
    # The last one that is put in stays.
    plainest = {name.split("?")[0]: name for name in sorted(whole, key=len, reverse=True)}
    means = {name: mean for name, mean in whole.items() if plainest[name.split("?")[0]] == name}
    found = correlation(
        log_odds([sheet.upstream[backbone] / 100 for backbone in means]),
        list(means.values()),
        name or ", ".join(f"{item.task} {item.score}" for item in items),
        tuple(means),
    )
    left = tuple(backbone for backbone in known if backbone not in whole)
    return Correlation(found.name, found.n, found.pearson, found.spearman, found.backbones, left, found.note)


def settings(sheet: Sheet, apart: Mapping[str, Collection[str]] | None = None) -> dict[str, tuple[Item, ...]]:
    """Main items of transfer by setting (protocol and variant), for a correlation each.

    apart: data sets that are a setting of their own within each, by a name that is added to the setting's, such as
    `fewshot/20shot, cross-domain`.
    """
    groups: dict[str, list[Item]] = {}
    for item in sheet.transfer_items:
        names = [name for name, datasets in (apart or {}).items() if item.dataset in datasets]
        groups.setdefault(", ".join([item.setting, *names]), []).append(item)
    return {name: tuple(items) for name, items in groups.items() if len({scale_of(item) for item in items}) == 1}


def compare_correlations(r_first: float, r_second: float, between: float, n: int) -> tuple[float, float]:
    """Whether x goes more with one thing than with another, all three measured on the same n backbones: z and two-sided p.

    Meng, Rosenthal and Rubin, "Comparing correlated correlation coefficients", Psychological Bulletin 111 (1992) 172-175: with
    Fisher's z of both, z = (z1 - z2) sqrt((n - 3) / (2 (1 - r) h)), h = (1 - f m) / (1 - m), f = (1 - r) / (2 (1 - m)) but at
    most 1, m the mean of the squared coefficients and r the correlation `between` the two things.

    Raises:
        ValueError: fewer than 4 backbones, or a coefficient that is not between -1 and 1.
    """
    from scipy.special import ndtr

    if n < FEWEST or not all(-1 < value < 1 for value in (r_first, r_second, between)):
        raise ValueError(
            f"expected {FEWEST} backbones or more and coefficients between -1 and 1, got {n} and {r_first}, {r_second}, {between}"
        )
    mean = (r_first**2 + r_second**2) / 2
    f = min(1.0, (1 - between) / (2 * (1 - mean)))
    h = (1 - f * mean) / (1 - mean)
    z = (math.atanh(r_first) - math.atanh(r_second)) * math.sqrt((n - 3) / (2 * (1 - between) * h))
    return z, 2 * float(ndtr(-abs(z)))
