"""Two records of one task on the same items: whether they measure the same thing, and the test that fits the score."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sslbench.errors import RecordError
from sslbench.metrics import METRICS, Score
from sslbench.metrics.score import Z95
from sslbench.results.record import Record, unpack_paired
from sslbench.results.statistics import (
    PairedComparison,
    mcnemar,
    paired_bootstrap,
    paired_resamples,
    paired_t,
    per_class_interval,
)

LEVEL = 0.05
"""Below this two-sided p two scores count as separated."""

KINDS = ("correct", "episodes", "resamples")


def check_same(new: Record, base: Record) -> None:
    """Whether two records measure the same thing.

    Raises:
        RecordError: their task, its version, data or compat choices, their main score or their test items differ.
    """
    pair = _pair(new, base)
    for ingredient in ("id", "version", "fingerprint"):
        _same(pair, f"task {ingredient}", new.task[ingredient], base.task[ingredient])
    if changed := changed_choices(new.task, base.task):
        told = ", ".join(f"{name} (new {ours}, base {theirs})" for name, (ours, theirs) in changed.items())
        raise RecordError(
            f"{pair}: they were run with different compat choices: {told}; run one of them again with the choice of the "
            "other (--sslbench-compat NAME=VALUE)"
        )
    _same(pair, "main score", new.main_score, base.main_score)
    _check_scale(pair, new.main_score, new, base)
    if new.paired and base.paired:
        for field, told in (
            ("kind", "kind of outcomes"),
            ("items", "digest of the test items"),
            ("n", "number of outcomes"),
        ):
            _same(pair, told, new.paired.get(field), base.paired.get(field))


def changed_choices(new: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The compat switches on which two tasks (as records have them) differ, with the choice of each.

    A switch that one of them does not name is not known to be at the choice of the other.
    """
    ours, theirs = new.get("compat") or {}, base.get("compat") or {}
    return {
        name: (ours.get(name, "not named"), theirs.get(name, "not named"))
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    }


def comparable(column: Sequence[Record]) -> bool:
    """Whether records measure the same thing, each as the first."""
    return why_not_comparable(column) is None


def why_not_comparable(column: Sequence[Record]) -> str | None:
    """What `check_same` says of the first record that differs, or None."""
    try:
        for record in column[1:]:
            check_same(record, column[0])
    except RecordError as error:
        return str(error)
    return None


def check_pair(new: Record, base: Record) -> None:
    """Whether two records can be compared item by item: they measure the same thing and both hold what its test takes.

    Raises:
        RecordError: as `check_same` does, or a record holds no outcomes of single items.
    """
    check_same(new, base)
    pair = _pair(new, base)
    if not new.paired:
        raise RecordError(
            f"{pair}: {new.case!r} has no outcomes of single items: it is of an earlier version and has to be run again, or its "
            "protocol gives none"
        )
    _same(pair, "kind of outcomes", new.paired.get("kind"), base.paired.get("kind"))
    kind = new.paired.get("kind")
    if kind not in KINDS:
        raise RecordError(f"{pair}: {new.main_score} has no outcomes of single items (kind {kind!r})")
    for record in (new, base):
        if kind == "correct" and _within_classes(record) and "targets" not in record.paired:
            raise RecordError(f"{pair}: {record.case!r} holds no class targets; run the case again")


def _within_classes(record: Record) -> bool:
    # A record may be of a metric that this version does not know.
    return record.main_score in METRICS and METRICS[record.main_score].within_classes


def compare_records(new: Record, base: Record, score: str | None = None) -> PairedComparison:
    """Compare two scores on the same items; the difference is new - base in the score's unit.

    score: its name, by default that of the main one. Raises RecordError as `check_pair` does, where the outcomes are too few or
    damaged, and where a record does not have the score or what pairs it.
    """
    name = new.main_score if score is None else score
    if name == new.main_score:
        check_pair(new, base)
    else:
        _check_other(new, base, name)
    try:
        difference = Score.from_json(new.scores[name]).value - Score.from_json(base.scores[name]).value
        return _compared(_stored(new, name), _stored(base, name), difference)
    except (KeyError, ValueError, TypeError) as error:
        raise RecordError(f"{_pair(new, base)}: {error}") from error


def _check_other(new: Record, base: Record, name: str) -> None:
    """Raise RecordError where a further score cannot be compared item by item."""
    check_same(new, base)
    pair = _pair(new, base)
    for record in (new, base):
        if name not in record.scores:
            raise RecordError(f"{pair}: {record.case!r} has no score {name!r}; it has {', '.join(record.scores)}")
        if name not in record.paired.get("others", {}):
            raise RecordError(
                f"{pair}: {record.case!r} holds nothing of single items for {name!r}; run the case again, or compare one of "
                f"{', '.join([record.main_score, *record.paired.get('others', {})])}"
            )
    _check_scale(pair, name, new, base)
    for field in ("items", "n", "images"):
        ours, theirs = (record.paired["others"][name].get(field) for record in (new, base))
        _same(pair, f"{field} of {name}", ours, theirs)


def _check_scale(pair: str, name: str, new: Record, base: Record) -> None:
    told = "main score" if name == new.main_score else f"score {name}"
    for field in ("unit", "higher_is_better"):
        _same(pair, f"{told}'s {field}", new.scores[name][field], base.scores[name][field])


def compare_spread(new: Record, base: Record) -> tuple[float, tuple[float, float]]:
    """The difference and its 95 % interval alone, for many pairs.

    As `compare_records`, but mean per-class accuracy is not bootstrapped: its interval is that of `per_class_interval`.
    Raises RecordError as `compare_records` does.
    """
    if "targets" not in new.paired or not _within_classes(new):
        comparison = compare_records(new, base)
        return comparison.difference, comparison.ci95
    check_pair(new, base)
    ours, theirs = _stored(new), _stored(base)
    try:
        return per_class_interval(_outcomes(ours), _outcomes(theirs), _targets(str(ours.targets)))
    except (KeyError, ValueError) as error:
        raise RecordError(f"{_pair(new, base)}: {error}") from error


def compare_quickly(new: Record, base: Record, score: str | None = None) -> PairedComparison:
    """As `compare_records`, for many pairs: mean per-class accuracy is not bootstrapped.

    Its interval is that of `per_class_interval`, and p that of a normal deviate with the standard error that it implies.
    Raises RecordError as `compare_records` does.
    """
    if "targets" not in new.paired or not _within_classes(new) or score not in (None, new.main_score):
        return compare_records(new, base, score)
    from scipy.special import ndtr

    difference, (low, high) = compare_spread(new, base)
    stderr = (high - low) / (2 * Z95)
    worse = float(ndtr(difference / stderr)) if stderr else float(difference >= 0)
    p = float(2 * ndtr(-abs(difference) / stderr)) if stderr else float(difference == 0)
    return PairedComparison(difference, (low, high), worse, p, int(new.paired["n"]), "paired-normal")


def separated(new: Record, base: Record) -> bool:
    """Whether the data tell two records apart: two-sided p of the paired test below `LEVEL`, not adjusted for other pairs.

    Where outcomes of single items are missing, whether the 95 % intervals lie apart. Raises RecordError where the two do
    not measure the same thing.
    """
    check_same(new, base)
    try:
        return compare_records(new, base).p_two_sided < LEVEL
    except RecordError:
        (low, high), (base_low, base_high) = new.main.ci95, base.main.ci95
        return low > base_high or base_low > high


def _pair(new: Record, base: Record) -> str:
    return f"{new.case!r} and {base.case!r} cannot be paired"


def _same(pair: str, ingredient: str, new: object, base: object) -> None:
    if new != base:
        raise RecordError(f"{pair}: the {ingredient} differs (new {new!r}, base {base!r}); rerun the baseline")


class _Stored(NamedTuple):
    """What a test takes of a record, as it is stored: hashable. size: queries of an episode, or test pictures."""

    kind: str
    n: int
    data: str
    size: int
    targets: str | None
    higher_is_better: bool


def _stored(record: Record, score: str | None = None) -> _Stored:
    name = record.main_score if score is None else score
    main = name == record.main_score
    paired = record.paired if main else record.paired["others"][name]
    size = {"episodes": "per_episode", "resamples": "images"}.get(paired["kind"])
    targets = paired.get("targets") if main and _within_classes(record) else None
    higher = bool(record.scores[name]["higher_is_better"])
    return _Stored(paired["kind"], paired["n"], paired["data"], paired[size] if size else 1, targets, higher)


# A run of the study has thousands of pairs, which its tables, its ranking and its report all ask for.
@lru_cache(maxsize=1 << 14)
def _compared(new: _Stored, base: _Stored, difference: float) -> PairedComparison:
    outcomes, base_outcomes = _outcomes(new), _outcomes(base)
    if new.kind == "episodes":
        return paired_t(outcomes / new.size, base_outcomes / base.size)
    if new.kind == "resamples":
        return paired_resamples(outcomes, base_outcomes, difference, new.size, higher_is_better=new.higher_is_better)
    if new.targets is None:
        return mcnemar(outcomes, base_outcomes)
    return paired_bootstrap(outcomes, base_outcomes, _targets(new.targets))


@lru_cache(maxsize=1 << 10)
def _outcomes(stored: _Stored) -> npt.NDArray[Any]:
    outcomes = unpack_paired({"kind": stored.kind, "n": stored.n, "data": stored.data})
    outcomes.flags.writeable = False
    return outcomes


def _targets(data: str) -> npt.NDArray[np.uint16]:
    return np.frombuffer(base64.b64decode(data), dtype="<u2")
