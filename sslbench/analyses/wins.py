"""Who beats whom: one item, one pair, many of both; by the test that is possible of what a sheet holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from sslbench.analyses.sheet import Cell, Item, Sheet
from sslbench.errors import RecordError
from sslbench.metrics.score import Z95
from sslbench.results.pairing import LEVEL, check_same, compare_quickly
from sslbench.results.record import Record
from sslbench.results.statistics import holm

Outcome = Literal["win", "open", "loss"]
PAIRED, INDEPENDENT, SIGN = "paired", "independent", "sign"


@dataclass(frozen=True)
class Contrast:
    """One backbone against another on one item.

    gain: in the item's unit, positive where the first is better, whichever way the score points. ci95, p (two-sided): None where
    nothing is known of the error. test: `paired` (the same test items, by `compare_quickly`), `independent` (a normal test of two
    standard errors, as if the test items were others: too wide, since they are the same) or `sign` (the sign of the gain alone).
    """

    gain: float
    ci95: tuple[float, float] | None
    p: float | None
    test: str


def contrast(item: Item, first: Cell, second: Cell) -> Contrast:
    """The best test that two cells allow. Raises RecordError where two records do not measure the same thing."""
    sign = 1.0 if item.higher_is_better else -1.0
    gain = sign * (first.value - second.value)
    if first.record is not None and second.record is not None:
        check_same(first.record, second.record)
        try:
            found = compare_quickly(first.record, second.record, item.score)
        except RecordError:
            # Nothing of single items is kept for this score: what is left are the standard errors.
            pass
        else:
            low, high = sorted(sign * end for end in found.ci95)
            return Contrast(sign * found.difference, (low, high), found.p_two_sided, PAIRED)
    if first.stderr is None or second.stderr is None:
        return Contrast(gain, None, None, SIGN)
    from scipy.special import ndtr

    stderr = math.hypot(first.stderr, second.stderr)
    p = 2 * float(ndtr(-abs(gain) / stderr)) if stderr else float(gain == 0)
    return Contrast(gain, (gain - Z95 * stderr, gain + Z95 * stderr), p, INDEPENDENT)


def outcomes(contrasts: Sequence[Contrast], level: float = LEVEL) -> list[Outcome]:
    """Each as a win, a loss or open, with Holm's adjustment over those that have a p; those without are told by their sign."""
    tested = [c.p for c in contrasts if c.p is not None]
    adjusted = iter(holm(tested) if tested else ())
    return [_outcome(c.gain, None if c.p is None else next(adjusted), level) for c in contrasts]


def _outcome(gain: float, p: float | None, level: float) -> Outcome:
    if gain == 0 or (p is not None and p > level):
        return "open"
    return "win" if gain > 0 else "loss"


@dataclass(frozen=True)
class MeanGain:
    """The mean gain over items of one unit, in it; `ci95` and `p` are None where an item has no error."""

    unit: str
    gain: float
    ci95: tuple[float, float] | None
    p: float | None
    items: int


def mean_gains(contrasts: Iterable[tuple[Item, Contrast]]) -> tuple[MeanGain, ...]:
    """The mean gain of each unit.

    As `sslbench.results.ranks.mean_difference`: items may share test pictures, so the standard error is the mean of the items'
    own, which is at least as large as that of the mean, whatever the dependence.
    """
    from scipy.special import ndtr

    units: dict[str, list[Contrast]] = {}
    for item, found in contrasts:
        units.setdefault(item.unit, []).append(found)
    means = []
    for unit, several in units.items():
        gain = math.fsum(c.gain for c in several) / len(several)
        ends = [c.ci95 for c in several if c.ci95 is not None]
        if len(ends) < len(several):
            means.append(MeanGain(unit, gain, None, None, len(several)))
            continue
        low, high = (math.fsum(ci95[side] for ci95 in ends) / len(ends) for side in (0, 1))
        stderr = (high - low) / (2 * Z95)
        p = 2 * float(ndtr(-abs(gain) / stderr)) if stderr else float(gain == 0)
        means.append(MeanGain(unit, gain, (low, high), p, len(several)))
    return tuple(means)


@dataclass(frozen=True)
class Duel:
    """One backbone against another over the items that both have.

    outcomes: by item. tests: how many items were judged by each kind of test. means: of the gains, one a unit.
    """

    first: str
    second: str
    outcomes: Mapping[Item, Outcome]
    tests: Mapping[str, int]
    means: tuple[MeanGain, ...]

    def count(self, outcome: Outcome) -> int:
        """On how many items."""
        return list(self.outcomes.values()).count(outcome)

    @property
    def told(self) -> str:
        """`A beats B on 3 of 7, loses on 1, 3 not separated; mean gain +1.2 % [0.3, 2.1], p .01 (5 tasks)`."""
        text = (
            f"{self.first} beats {self.second} on {self.count('win')} of {len(self.outcomes)}, loses on {self.count('loss')}, "
            f"{self.count('open')} not separated"
        )
        for mean in self.means:
            interval = "" if mean.ci95 is None else f" [{mean.ci95[0]:+.2f}, {mean.ci95[1]:+.2f}]"
            p = "" if mean.p is None else f", p {mean.p:.2g}"
            text += f"; mean gain {mean.gain:+.2f} {mean.unit}{interval}{p} ({mean.items} tasks)"
        return text


def duels(
    sheet: Sheet, items: Iterable[Item] = (), backbones: Sequence[str] = (), level: float = LEVEL
) -> dict[tuple[str, str], Duel]:
    """Every pair of backbones over the items that both have, by default all main ones of transfer; for a win/tie/loss matrix.

    Within an item Holm's adjustment is over all its pairs, so that the chance of any wrong separation in one column is at most
    `level`. Raises RecordError where records of one item do not measure the same thing.
    """
    names = tuple(backbones or sheet.trained)
    found: dict[tuple[str, str], dict[Item, tuple[Contrast, Outcome]]] = {pair: {} for pair in combinations(names, 2)}
    for item in tuple(items) or sheet.transfer_items:
        column = sheet.column(item)
        pairs = list(combinations([name for name in names if name in column], 2))
        contrasts = [contrast(item, column[first], column[second]) for first, second in pairs]
        for pair, one, judged in zip(pairs, contrasts, outcomes(contrasts, level), strict=True):
            found[pair][item] = one, judged
    return {pair: _duel(pair, several) for pair, several in found.items()}


def _duel(pair: tuple[str, str], found: Mapping[Item, tuple[Contrast, Outcome]]) -> Duel:
    tests = [one.test for one, _ in found.values()]
    return Duel(
        *pair,
        {item: judged for item, (_, judged) in found.items()},
        {test: tests.count(test) for test in (PAIRED, INDEPENDENT, SIGN) if test in tests},
        mean_gains((item, one) for item, (one, _) in found.items()),
    )


@dataclass(frozen=True)
class Variances:
    """What is known of how far a record's main score may move, as standard deviations in its unit.

    items: of another drawing of the test items (or few-shot episodes), for these trained networks. seed: of another training,
    None where the case trained once. seeds: trainings that the score is the mean of.
    """

    items: float | None
    seed: float | None
    seeds: int

    @property
    def told(self) -> str:
        """Both in words; never added up, since which of them counts depends on the question."""
        drawing = "not known" if self.items is None else f"{self.items:.2f}"
        if self.seed is None:
            return f"drawing of test items {drawing}; training seeds not measured (one training)"
        return (
            f"drawing of test items {drawing}; training seeds {self.seed:.2f} each, "
            f"{self.seed / math.sqrt(self.seeds):.2f} of their mean ({self.seeds} trainings)"
        )


def variances(record: Record) -> Variances:
    """The two variances of a record's main score, apart: `MAIN_seed_sd` is there where a case has several trainings."""
    spread = record.scores.get(f"{record.main_score}_seed_sd")
    items = record.scores[record.main_score]["stderr"]
    if spread is None or spread["value"] is None:
        return Variances(items, None, 1)
    return Variances(items, float(spread["value"]), int(spread["n"]))
