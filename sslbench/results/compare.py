"""Why and by how much two runs differ: the text of `sslbench compare A B`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sslbench.errors import RecordError
from sslbench.metrics import Score
from sslbench.names import did_you_mean
from sslbench.results import marks
from sslbench.results.pairing import compare_records
from sslbench.results.record import Record
from sslbench.results.statistics import PairedComparison, holm
from sslbench.results.tables import ordered

RECIPE = ("backbone", "task", "hyperparameters", "environment")
"""The fields of a record that can change its score."""

# What follows from the data and is no ingredient; records of earlier versions lack it.
_DERIVED = {
    "hyperparameters.trials",
    "task.guess",
    "hyperparameters.ece_temperatures.ece_scaled",
    "hyperparameters.ece_temperatures.ece_scaled_val",
}
_ABSENT = "(absent)"
# Cases that are named where a run has many more that the other lacks.
_NAMED = 6


def flatten(data: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """Nested dictionaries as dotted path -> text, sorted by path; lists stay whole."""
    flat: dict[str, str] = {}
    for key, value in sorted(data.items()):
        path = f"{prefix}.{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, path)
        else:
            flat[path] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return flat


def differences(new: Record, base: Record) -> list[tuple[str, str, str]]:
    """Every differing ingredient of the two recipes as (dotted path, new, base)."""
    found = []
    for field in RECIPE:
        ours, theirs = flatten(getattr(new, field), field), flatten(getattr(base, field), field)
        for path in sorted((ours.keys() | theirs.keys()) - _DERIVED):
            pair = ours.get(path, _ABSENT), theirs.get(path, _ABSENT)
            if pair[0] != pair[1]:
                found.append((path, *pair))
    return found


def interval(comparison: PairedComparison, unit: str) -> str:
    """The difference with its 95 % interval. unit: of the score."""
    low, high = comparison.ci95
    digits = _decimals(unit)
    difference = f"{comparison.difference:+.{digits}f} {marks.difference_unit(unit)}".rstrip()
    return f"{difference}, 95 % interval [{low:+.{digits}f}, {high:+.{digits}f}]"


def score_text(record: Record, name: str | None = None) -> str:
    """A score with its standard error and unit, by default the main one."""
    score = Score.from_json(record.scores[name or record.main_score])
    return f"{marks.score_text(score, decimals=_decimals(score.unit), between='±')} {score.unit}".rstrip()


def _decimals(unit: str) -> int:
    # Nats, squared probabilities and errors in metres are small numbers.
    return 4 if unit in ("", "nats", "m") else 2


@dataclass(frozen=True)
class ComparedCase:
    """One case of two runs by one score.

    name: the score's. result: the paired test, or why there is none. p: two-sided, Holm-adjusted over all cases that were tested;
    None without a test.
    """

    new: Record
    base: Record
    name: str
    result: PairedComparison | str
    p: float | None

    @property
    def scale(self) -> Score:
        """The new run's score, whose unit and direction the base's are."""
        return Score.from_json(self.new.scores[self.name])


@dataclass(frozen=True)
class ComparedRuns:
    """cases: those that both runs have, in the tables' order. lacking: cases without the score on one side. only_new, only_base:
    what the other run has no partner of.
    """

    cases: tuple[ComparedCase, ...]
    lacking: tuple[tuple[Record, Record], ...]
    only_new: tuple[Record, ...]
    only_base: tuple[Record, ...]

    @property
    def tested(self) -> int:
        """On how many cases a test was possible."""
        return sum(case.p is not None for case in self.cases)


def compare_runs(new: list[Record], base: list[Record], score: str | None = None) -> ComparedRuns:
    """Compare the cases of two runs.

    Where each run has one backbone, the two are compared even under different names; otherwise a backbone is compared
    with that of the same name.

    score: the name of the one that is compared, by default each case's main one; cases without it are told.

    Raises:
        RecordError: the runs share no case, or none that has the score on both sides.
    """
    new, base = ordered(new), ordered(base)
    pairs = _shared(new, base)
    if not pairs:
        raise RecordError(
            f"expected runs that share a case, got new: {_cases(new)}; base: {_cases(base)}; give two runs of the same "
            "tasks, with equal backbone names or one backbone each"
        )
    lacking = [pair for pair in pairs if not all(score is None or score in record.scores for record in pair)]
    if score is not None and len(lacking) == len(pairs):
        known = sorted({name for pair in pairs for name in pair[0].scores.keys() & pair[1].scores.keys()})
        raise RecordError(
            f"no case has the score {score!r} on both sides; they share {', '.join(known) or 'none'}{did_you_mean(score, known)}"
        )
    compared_new, compared_base = ({id(record) for record in side} for side in zip(*pairs, strict=True))
    pairs = [pair for pair in pairs if pair not in lacking]
    results = [_compared(ours, theirs, score) for ours, theirs in pairs]
    tested = [result for result in results if isinstance(result, PairedComparison)]
    adjusted = iter(holm([result.p_two_sided for result in tested]) if tested else ())
    return ComparedRuns(
        tuple(
            ComparedCase(
                ours, theirs, score or ours.main_score, result, None if isinstance(result, str) else next(adjusted)
            )
            for (ours, theirs), result in zip(pairs, results, strict=True)
        ),
        tuple(lacking),
        tuple(record for record in new if id(record) not in compared_new),
        tuple(record for record in base if id(record) not in compared_base),
    )


def compare(new: list[Record], base: list[Record], score: str | None = None) -> str:
    """`compare_runs` as text. Raises RecordError as it does."""
    return compared_text(compare_runs(new, base, score), score)


def compared_text(runs: ComparedRuns, score: str | None = None) -> str:
    """What two runs' comparison by `score`, by default each case's main one, tells on a terminal."""
    blocks = []
    for case in runs.cases:
        told = case.result if isinstance(case.result, str) else _verdict(case.result, case.p or 0.0, case.scale)
        scores = _scores(case.new, case.base, case.name)
        blocks.append("\n".join([*scores, f"  {told}", *_recipe(case.new, case.base)]))
    if runs.tested:
        blocks.append(f"p is two-sided and Holm-adjusted over the {runs.tested} paired case(s).")
    if runs.lacking:
        blocks.append(f"without {score} on one side: {_cases(ours for ours, _ in runs.lacking)}")
    for name, alone in (("new", runs.only_new), ("base", runs.only_base)):
        if alone:
            blocks.append(f"only in {name}: {_cases(alone)}")
    return "\n\n".join(blocks) + "\n"


def _shared(new: list[Record], base: list[Record]) -> list[tuple[Record, Record]]:
    names_new, names_base = ({record.backbone["name"] for record in side} for side in (new, base))
    renamed = len(names_new) == len(names_base) == 1
    theirs = {("" if renamed else record.backbone["name"], record.task["id"]): record for record in base}
    keys = [("" if renamed else record.backbone["name"], record.task["id"]) for record in new]
    return [(record, theirs[key]) for record, key in zip(new, keys, strict=True) if key in theirs]


def _compared(new: Record, base: Record, score: str | None) -> PairedComparison | str:
    try:
        return compare_records(new, base, score)
    except RecordError as error:
        return f"no test: {error}"


def _verdict(comparison: PairedComparison, p_adjusted: float, score: Score) -> str:
    direction = "" if score.higher_is_better else ", lower is better"
    how = f"p = {p_adjusted:.3g}, unadjusted {comparison.p_two_sided:.3g}; {comparison.test}, n = {comparison.n}"
    return f"difference {interval(comparison, score.unit)}{direction} ({how})"


def _scores(new: Record, base: Record, name: str) -> list[str]:
    # A base of another main score is told by what follows.
    theirs = score_text(base, name if name in base.scores else None)
    return [
        f"{new.task['id']}: {new.backbone['name']} against {base.backbone['name']}",
        f"  {name}: new {score_text(new, name)}, base {theirs}",
    ]


def _recipe(new: Record, base: Record) -> list[str]:
    found = differences(new, base)
    if not found:
        return ["  the recipes are equal"]
    return ["  the recipes differ (new | base):", *(f"    {path}: {ours} | {theirs}" for path, ours, theirs in found)]


def _cases(records: Iterable[Record]) -> str:
    names = [record.case for record in records]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED] + [f"and {more:,} more"] * (more > 0)) or "no cases"
