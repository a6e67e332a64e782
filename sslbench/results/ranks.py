"""Ranks as far as the data separate them: on one task, and over the tasks that every backbone has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from sslbench.errors import RecordError
from sslbench.metrics.score import Z95
from sslbench.results.markdown import escape, table
from sslbench.results.marks import GUESSING, mean_guess
from sslbench.results.pairing import LEVEL, compare_records, compare_spread
from sslbench.results.record import Record
from sslbench.results.statistics import holm

UNIT = "%"


@dataclass(frozen=True)
class MeanDifference:
    """new - base in percentage points, averaged over `tasks` tasks; p is two-sided."""

    difference: float
    ci95: tuple[float, float]
    p: float
    tasks: int


@dataclass(frozen=True)
class Rank:
    """A backbone's mean score over `tasks` tasks, in %, and the best and worst rank it may have (1 is the best).

    guess: the mean level of guessing over these tasks, None where one is not known. beats: those that it is significantly
    better than.
    """

    backbone: str
    mean: float
    best: int
    worst: int
    tasks: int
    guess: float | None = None
    beats: tuple[str, ...] = ()


def rank_ranges(
    column: Sequence[Record], level: float = LEVEL, *, score: str | None = None
) -> dict[str, tuple[int, int]]:
    """The best and the worst rank that each backbone may have on one task, by name.

    All pairs are compared on the same test items, two-sided, with Holm's adjustment over the pairs, so that the chance
    of any wrong separation in the column is at most `level`. A backbone's best rank is one more than the number of those
    significantly better than it, its worst the number of those not significantly worse. score: by default the main one.
    Raises RecordError when the records cannot be paired.
    """
    gains, ps = [], []
    for first, second in combinations(column, 2):
        pair = compare_records(first, second, score)
        rising = first.scores[score or first.main_score]["higher_is_better"]
        gains.append(pair.difference if rising else -pair.difference)
        ps.append(pair.p_two_sided)
    return dict(zip((r.backbone["name"] for r in column), _ranges(len(column), gains, ps, level), strict=True))


def _ranges(count: int, gains: Sequence[float], ps: Sequence[float], level: float) -> list[tuple[int, int]]:
    """From the gain of the first over the second and its p, for all pairs in the order of `combinations`."""
    beaten = _beaten(count, gains, ps, level)
    return [(1 + sum(i in others for others in beaten), count - len(beaten[i])) for i in range(count)]


def _beaten(count: int, gains: Sequence[float], ps: Sequence[float], level: float) -> list[list[int]]:
    """By place, the places of those that are significantly worse; arguments as of `_ranges`."""
    beaten: list[list[int]] = [[] for _ in range(count)]
    adjusted = holm(ps) if ps else []
    for (i, j), gain, p in zip(combinations(range(count), 2), gains, adjusted, strict=True):
        if p <= level:
            winner, loser = (i, j) if gain > 0 else (j, i)
            beaten[winner].append(loser)
    return beaten


def mean_difference(new: Iterable[Record], base: Iterable[Record]) -> MeanDifference:
    """The mean of the paired differences over the tasks that both backbones have.

    Tasks may share pictures (three questions about one set, two probes on it), so their differences depend on each
    other in an unknown way. The interval is the mean of the tasks' own 95 % limits: the standard error of a mean is at
    most the mean of the standard errors, whatever the dependence, so it is at least as wide as it should be. p is
    that of a normal deviate with the standard error that the interval implies.
    Raises RecordError when no task is shared, when a score is not better when higher, or when records cannot be paired.
    """
    from scipy.special import ndtr

    ours, theirs = ({record.task["id"]: record for record in records} for records in (new, base))
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        raise RecordError(f"no task in common: {sorted(ours)} and {sorted(theirs)}")
    if falling := [task for task in shared if not ours[task].main.higher_is_better]:
        raise RecordError(f"no mean over scores of different directions: lower is better in {', '.join(falling)}")
    pairs = [compare_spread(ours[task], theirs[task]) for task in shared]
    low, high = (sum(ci95[end] for _, ci95 in pairs) / len(pairs) for end in (0, 1))
    difference = sum(difference for difference, _ in pairs) / len(pairs)
    stderr = (high - low) / (2 * Z95)
    p = float(2 * ndtr(-abs(difference) / stderr)) if stderr else float(difference == 0)
    return MeanDifference(difference, (low, high), p, len(pairs))


def ranking(records: Iterable[Record], level: float = LEVEL) -> list[Rank]:
    """The backbones by their mean score over the tasks that all of them have, the best first.

    Only tasks in % whose records measure the same thing count; empty when there is none or fewer than two backbones.
    Pairs are separated by `mean_difference` with Holm's adjustment.
    """
    columns: dict[str, list[Record]] = {}
    for record in records:
        if record.main.higher_is_better and record.main.unit == UNIT and record.paired:
            columns.setdefault(record.task["id"], []).append(record)
    names = sorted({record.backbone["name"] for column in columns.values() for record in column})
    shared = [
        columns[task] for task in sorted(columns) if len(columns[task]) == len(names) and _pairable(columns[task])
    ]
    if len(names) < 2 or not shared:
        return []
    rows = {name: [r for column in shared for r in column if r.backbone["name"] == name] for name in names}
    differences = [mean_difference(rows[first], rows[second]) for first, second in combinations(names, 2)]
    beaten = _beaten(len(names), [d.difference for d in differences], [d.p for d in differences], level)
    level_of_guessing = mean_guess(shared)
    ranks = [
        Rank(
            name,
            sum(r.main.value for r in rows[name]) / len(shared),
            1 + sum(place in others for others in beaten),
            len(names) - len(beaten[place]),
            len(shared),
            level_of_guessing,
            tuple(names[other] for other in beaten[place]),
        )
        for place, name in enumerate(names)
    ]
    return sorted(ranks, key=lambda rank: (-rank.mean, rank.backbone))


def _pairable(column: Sequence[Record]) -> bool:
    try:
        for record in column[1:]:
            compare_spread(record, column[0])
    except RecordError:
        return False
    return True


def span(best: int, worst: int) -> str:
    """`2` or `2-4`."""
    return str(best) if best == worst else f"{best}-{worst}"


def ranking_lines(ranks: Sequence[Rank]) -> list[str]:
    """Plain text after a table: rank range, mean and backbone, and what they rest on; empty without ranks."""
    if not ranks:
        return []
    spans = [span(rank.best, rank.worst) for rank in ranks]
    width = max(map(len, ["rank", *spans]))
    lines = ["", f"{'rank':>{width}}   mean  backbone"]
    lines += [f"{text:>{width}}  {rank.mean:5.1f}  {rank.backbone}" for text, rank in zip(spans, ranks, strict=True)]
    if (guess := ranks[0].guess) is not None:
        lines.append(f"{'':>{width}}  {guess:5.1f}  {GUESSING}")
    return [*lines, _basis(ranks)]


def ranking_markdown(ranks: Sequence[Rank]) -> str:
    """The same as a Markdown section; empty without ranks."""
    if not ranks:
        return ""
    rows = [[span(r.best, r.worst), escape(r.backbone), f"{r.mean:.1f}"] for r in ranks]
    if (guess := ranks[0].guess) is not None:
        rows.append(["", f"*{GUESSING}*", f"{guess:.1f}"])
    basis = _basis(ranks)
    body = table(["rank", "backbone", "mean"], rows, left=2)
    return f"\n## ranking\n\n{body}\n\n{basis[0].upper()}{basis[1:]}.\n"


def _basis(ranks: Sequence[Rank]) -> str:
    tasks = f"{ranks[0].tasks} tasks" if ranks[0].tasks != 1 else "one task"
    return f"mean over the {tasks} that all have; ranks that the data do not separate are shared"
