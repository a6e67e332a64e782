"""Scores and speed of the same cases over many runs, and which changes are more than noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from sslbench.errors import RecordError
from sslbench.protocols import measures_transfer
from sslbench.results.compare import flatten
from sslbench.results.pairing import compare_quickly
from sslbench.results.record import Record
from sslbench.results.statistics import PairedComparison, holm

LEVEL = 0.05
"""Chance that any change is marked of cases that did not change, for scores and for speed each."""

EARLIER = 4
"""Nights on the same hardware that a speed is held against at least."""

MIN_CHANGE = 0.1
"""A speed that differs by less than this part counts as unchanged, however small the spread."""

EXTRACT, FIT, IMAGES = "extract", "fit", "images_per_second"
SPEEDS = {EXTRACT: False, FIT: False, IMAGES: True}
"""What of `timings` is looked at, and whether more is better."""

ALL_CASES = "all cases"

# Factors by which 1.4826 x MAD is too small on average for 2 to 9 normal values; n / (n - 0.8) beyond.
_SMALL = {2: 1.196, 3: 1.495, 4: 1.363, 5: 1.206, 6: 1.200, 7: 1.140, 8: 1.129, 9: 1.107}
_NORMAL = 1.482602218505602

Verdict = Literal["worse", "better", "changed", "same", "first", "again", "incomparable", "too few nights"]


@dataclass(frozen=True)
class Night:
    """One run.

    name: as it was named. date: of its newest record, an ISO time in UTC. records: by case.
    """

    name: str
    date: str
    records: Mapping[str, Record]

    @property
    def label(self) -> str:
        """The day, for the heads of tables."""
        return self.date[:10]


@dataclass(frozen=True)
class Point:
    """One value of one case on one night.

    measure: the main score's name, or one of `SPEEDS`. night: its place among the nights. value: in `unit`; stderr: of a score,
    else None. before: what it is held against, the score of the night before or the median of the earlier speeds. p: two-sided,
    Holm-adjusted over all tests of its kind; None without a test. told: why there is none, or which test. hardware: that a speed
    was measured on.

    verdict: `again` is a record that an earlier night has too, so that nothing was measured; `changed` a significant change of a
    score of which neither end is better.
    """

    case: str
    measure: str
    night: int
    value: float
    unit: str
    verdict: Verdict
    stderr: float | None = None
    before: float | None = None
    p: float | None = None
    told: str = ""
    hardware: str = ""

    @property
    def speed(self) -> bool:
        """Whether it is no score."""
        return self.measure in SPEEDS


@dataclass(frozen=True)
class History:
    """nights: the oldest first. points: of scores and speeds, by case, measure and night.

    changes: of versions and hardware, for each night what differs from the night before as (ingredient, before, now).
    """

    nights: Sequence[Night]
    points: Sequence[Point]
    changes: Mapping[int, list[tuple[str, str, str]]]

    def alarms(self, kind: Literal["score", "speed", "any"]) -> list[Point]:
        """What got worse, or changed, on the last night."""
        return [
            point
            for point in self.points
            if point.night == len(self.nights) - 1
            and point.verdict in ("worse", "changed")
            and kind in ("any", "speed" if point.speed else "score")
        ]


@dataclass
class _Tested:
    """A point before its p-value is adjusted."""

    point: Point
    p: float | None = None
    better: bool | None = None
    small: bool = False


def history(runs: Mapping[str, Sequence[Record]], level: float = LEVEL, min_change: float = MIN_CHANGE) -> History:
    """What became of each case over runs, which are put in the order of their dates.

    A score is held against that of the night before on which the case was run, by the paired test of `results.pairing`; Holm
    adjusts over all cases and nights. A speed is held against those of all earlier nights with the same hardware
    (`spread_test`), again with Holm over all cases, measures and nights, and counts when it differs by `min_change` too. The
    speed of all cases together is looked at beside that of each (`ALL_CASES`), since what slows all down is seen there first.

    Raises:
        RecordError: no run, a run without records, two records of one case in one run, or a level or least
            change that cannot be.
    """
    if not 0 < level < 1:
        raise RecordError(f"the level of a history is a number between 0 and 1, both excluded, got {level:g}")
    if not 0 <= min_change < math.inf:
        raise RecordError(f"the least change of a speed is a part of 0 or more, such as 0.1, got {min_change:g}")
    nights = _nights(runs)
    first_seen = _first_seen(nights)
    cases = sorted({case for night in nights for case in night.records})
    scores = [tested for case in cases for tested in _scores(case, nights, first_seen)]
    speeds = [tested for case in cases for tested in _speeds(case, nights, first_seen, min_change)]
    speeds += _all_cases(speeds, min_change)
    points = [*_judged(scores, level), *_judged(speeds, level)]
    return History(
        nights,
        points,
        {place: _changes(nights[place - 1], nights[place]) for place in range(1, len(nights))},
    )


def _nights(runs: Mapping[str, Sequence[Record]]) -> list[Night]:
    if not runs:
        raise RecordError("a history is of one run or more, got none")
    nights = []
    for name, records in runs.items():
        if not records:
            raise RecordError(f"the run {name} holds no usable record")
        by_case = {record.case: record for record in records}
        if len(by_case) < len(records):
            raise RecordError(f"expected one record a case, but {name} has several of one")
        nights.append(Night(name, max(record.created for record in records), by_case))
    # Sorting is stable, so that nights of the same second stay in the order given.
    return sorted(nights, key=lambda night: night.date)


def _first_seen(nights: Sequence[Night]) -> dict[tuple[str, str, str], int]:
    """On which night each record was made: one that a later run resumed lies in several."""
    found: dict[tuple[str, str, str], int] = {}
    for place, night in enumerate(nights):
        for record in night.records.values():
            found.setdefault(_identity(record), place)
    return found


def _identity(record: Record) -> tuple[str, str, str]:
    return record.case, record.key, record.created


def _scores(case: str, nights: Sequence[Night], first_seen: Mapping[tuple[str, str, str], int]) -> Iterable[_Tested]:
    before: Record | None = None
    for place, night in enumerate(nights):
        record = night.records.get(case)
        if record is None:
            continue
        point = Point(
            case, record.main_score, place, record.main.value, record.main.unit, "first", _finite(record.main.stderr)
        )
        if first_seen[_identity(record)] < place:
            yield _Tested(replace(point, verdict="again", told="the record of an earlier night"))
        elif before is None:
            yield _Tested(point)
        else:
            yield _score_against(point, record, before)
        before = record


def _score_against(point: Point, record: Record, before: Record) -> _Tested:
    try:
        compared = compare_quickly(record, before)
    except RecordError as error:
        return _Tested(replace(point, verdict="incomparable", told=str(error)))
    point = replace(point, verdict="same", before=before.main.value, told=compared.test)
    return _Tested(point, compared.p_two_sided, _direction(record, compared))


def _direction(record: Record, compared: PairedComparison) -> bool | None:
    """Whether a change is for the better; None where neither end is."""
    if not measures_transfer(record.task["protocol"]):
        return None
    return (compared.difference > 0) == record.main.higher_is_better


def _speeds(
    case: str, nights: Sequence[Night], first_seen: Mapping[tuple[str, str, str], int], min_change: float
) -> Iterable[_Tested]:
    for measure in SPEEDS:
        earlier: dict[str, list[float]] = {}
        for place, night in enumerate(nights):
            record = night.records.get(case)
            value = record and record.timings.get(measure)
            # What came from the cache took no time, and what another night measured is no new measurement.
            if not record or not value or first_seen[_identity(record)] < place:
                continue
            place_of_work = hardware(record)
            yield _speed_against(
                Point(case, measure, place, float(value), _unit(measure), "too few nights", hardware=place_of_work),
                earlier.setdefault(place_of_work, []),
                min_change,
            )
            earlier[place_of_work].append(float(value))


def _speed_against(point: Point, earlier: Sequence[float], min_change: float) -> _Tested:
    if len(earlier) < EARLIER:
        told = f"{len(earlier)} earlier night(s) on this hardware, {EARLIER} are needed"
        return _Tested(replace(point, told=told))
    # Times vary by factors, so their logarithms are what has a spread.
    p, middle = spread_test(math.log(point.value), np.log(earlier))
    before, more = math.exp(middle), math.log(point.value) > middle
    point = replace(point, verdict="same", before=before, told=f"median and MAD of {len(earlier)} nights")
    small = abs(point.value / before - 1) < min_change
    return _Tested(point, p, more == SPEEDS[point.measure], small)


def _all_cases(speeds: Sequence[_Tested], min_change: float) -> list[_Tested]:
    """The speed of all cases together, relative to each case's own median, in one figure a night and hardware."""
    found = []
    for measure in SPEEDS:
        columns: dict[str, dict[str, dict[int, float]]] = {}
        for tested in speeds:
            if tested.point.measure == measure:
                cases = columns.setdefault(tested.point.hardware, {})
                cases.setdefault(tested.point.case, {})[tested.point.night] = math.log(tested.point.value)
        for place_of_work, cases in columns.items():
            offsets: dict[int, list[float]] = {}
            # A case that ran once is its own median and says nothing.
            for values in (values for values in cases.values() if len(values) > 1):
                middle = float(np.median(list(values.values())))
                for place, value in values.items():
                    offsets.setdefault(place, []).append(value - middle)
            earlier: list[float] = []
            for place in sorted(offsets):
                factor = math.exp(float(np.median(offsets[place])))
                point = Point(ALL_CASES, measure, place, factor, "x median", "too few nights", hardware=place_of_work)
                found.append(_speed_against(point, earlier, min_change))
                earlier.append(factor)
    return found


def spread_test(value: float, earlier: Any) -> tuple[float, float]:
    """Whether a value is further from earlier ones than these are from each other; returns a two-sided p and their median.

    The distance from the median of n earlier values is divided by their scaled median absolute deviation, with the factors of
    Croux and Rousseeuw ("Time-efficient algorithms for two highly robust estimators of scale", Computational Statistics 1 (1992)
    411-428) for small n, and by sqrt(1 + pi / 2n), since the median is uncertain too. The result is held against Student's t with
    0.88 floor(n / 2) degrees of freedom: about half of the values must fall together for the deviation to vanish, which is what
    makes the tails of t and of this so heavy, and the factor is fitted. Of normal values p is below 0.05 and 0.001 in no more
    than 5 % and 0.11 % of the cases for n from 4 to 30 (simulated, as tests/analyses/test_history.py does in small). One slow
    night among the earlier ones does not move it.

    Args:
        value: the new one.
        earlier: (n,), n >= 2.

    Raises:
        ValueError: fewer than two earlier values, or one that is not finite.
    """
    from scipy.special import stdtr

    earlier = np.asarray(earlier, dtype=np.float64)
    if earlier.ndim != 1 or earlier.size < 2 or not np.isfinite(earlier).all() or not math.isfinite(value):
        raise ValueError(f"expected a finite value and at least 2 finite earlier ones, got {value} and {earlier}")
    n = earlier.size
    middle = float(np.median(earlier))
    scale = _NORMAL * _SMALL.get(n, n / (n - 0.8)) * float(np.median(np.abs(earlier - middle)))
    distance = abs(value - middle)
    if scale == 0:
        return float(distance == 0), middle
    t = distance / (scale * math.sqrt(1 + math.pi / (2 * n)))
    return min(1.0, 2 * float(stdtr(0.88 * (n // 2), -t))), middle


def _judged(several: Sequence[_Tested], level: float) -> list[Point]:
    tested = [one for one in several if one.p is not None]
    adjusted = dict(
        zip(map(id, tested), holm([one.p for one in tested if one.p is not None]) if tested else (), strict=True)
    )
    points = []
    for one in several:
        point, p = one.point, adjusted.get(id(one))
        if p is not None:
            significant = p <= level and not one.small
            verdict: Verdict = (
                "same" if not significant else "changed" if one.better is None else "better" if one.better else "worse"
            )
            point = replace(point, p=p, verdict=verdict)
        points.append(point)
    return points


def hardware(record: Record) -> str:
    """What decides how fast a case can be: processor, cores, device and threads."""
    environment = record.environment
    platform, cpu, cores, device = (
        str(environment.get(name, "unknown")) for name in ("platform", "cpu", "cores", "device")
    )
    threads = record.timings.get("threads") or "unknown"
    return f"{platform}, {cpu}, {cores} core(s), on {device}, {threads} thread(s)"


def _changes(before: Night, now: Night) -> list[tuple[str, str, str]]:
    """Versions and hardware that differ between two nights; one night may have run on several machines."""
    ours, theirs = _environments(now), _environments(before)
    found = []
    for path in sorted(ours.keys() | theirs.keys()):
        was, now_is = (" or ".join(sorted(side.get(path, {"(absent)"}))) for side in (theirs, ours))
        if was != now_is:
            found.append((path, was, now_is))
    return found


def _environments(night: Night) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in night.records.values():
        for path, value in flatten(record.environment, "environment").items():
            found.setdefault(path.removeprefix("environment."), set()).add(value)
    return found


def _unit(measure: str) -> str:
    return "images/s" if measure == IMAGES else "s"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
