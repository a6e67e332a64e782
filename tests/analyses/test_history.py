"""Scores and speed over nights: brute force, scipy, and simulated equal nights."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, median_abs_deviation
from scipy.stats import t as student

from sslbench.analyses.history import ALL_CASES, EARLIER, Point, history, spread_test
from sslbench.analyses.history_tables import CSV_COLUMNS, history_lines, to_csv
from sslbench.errors import RecordError
from sslbench.results.record import Record
from tests.results.conftest import build

CPU = {"cpu": "one", "cores": 2, "device": "cpu", "packages": {"torch": "2.9"}}


def night(day: int, *records: Record) -> tuple[str, list[Record]]:
    return f"night{day}", [replace(record, created=f"2026-11-{day:02}T01:00:00+00:00") for record in records]


def timed(fit: float, backbone: str = "a", cpu: str = "one", **timings: float | None) -> Record:
    return build(
        backbone,
        environment={**CPU, "cpu": cpu},
        timings={"extract": 0.0, "fit": fit, "score": 1.0, "images_per_second": None, "threads": 1, **timings},
    )


def points(found: object, measure: str, case: str = "a|linear/digits") -> list[Point]:
    return [point for point in found.points if (point.case, point.measure) == (case, measure)]


def answers(right: int, seed: int = 0, n: int = 200) -> list[bool]:
    values = np.arange(n) < right
    return list(np.random.default_rng(seed).permutation(values)) if seed else list(values)


def test_scores_are_mcnemars_of_consecutive_nights_with_holm_over_all() -> None:
    columns = {"a": (180, 178, 150), "b": (100, 100, 120)}
    runs = dict(
        night(day, *(build(name, correct=answers(right[day - 1])) for name, right in columns.items()))
        for day in (1, 2, 3)
    )
    found = history(runs)
    raw = {
        (name, day): binomtest(0, abs(right[day] - right[day - 1]), 0.5).pvalue if right[day] != right[day - 1] else 1.0
        for name, right in columns.items()
        for day in (1, 2)
    }
    # Holm by its definition: the largest of the scaled values up to one's own place.
    order = sorted(raw, key=raw.__getitem__)
    adjusted = {
        key: min(1.0, max((len(order) - place) * raw[order[place]] for place in range(index + 1)))
        for index, key in enumerate(order)
    }
    for name in columns:
        first, second, third = points(found, "top1", f"{name}|linear/digits")
        assert (first.verdict, first.p) == ("first", None)
        assert [second.p, third.p] == pytest.approx([adjusted[name, 1], adjusted[name, 2]])
    assert [point.verdict for point in points(found, "top1")] == ["first", "same", "worse"]
    assert points(found, "top1", "b|linear/digits")[2].verdict == "better"
    assert [(point.case, point.measure) for point in found.alarms("score")] == [("a|linear/digits", "top1")]
    assert found.alarms("speed") == []


def test_nights_are_put_in_the_order_of_their_dates() -> None:
    runs = dict([night(3, build("a", correct=answers(90))), night(1, build("a", correct=answers(180)))])
    found = history(runs)
    assert [one.name for one in found.nights] == ["night1", "night3"]
    assert points(found, "top1")[1].verdict == "worse"


def test_a_resumed_record_is_no_measurement() -> None:
    runs = dict(night(day, timed(1.0)) for day in range(1, 7))
    copied = {**runs, "again": [*runs["night6"], *night(7, timed(1.0, "b"))[1]]}
    found = history(copied)
    assert [point.verdict for point in points(found, "top1")][-1] == "again"
    assert [point.night for point in points(found, "fit")] == list(range(6))


def test_lower_is_better_and_analyses_have_no_better_end() -> None:
    def columns(right: int) -> tuple[Record, Record]:
        low = build("a", "linear/digits", correct=answers(right), higher_is_better=False)
        return low, build("a", "occlusion/digits", correct=answers(right))

    found = history(dict([night(1, *columns(90)), night(2, *columns(180))]))
    assert points(found, "top1")[1].verdict == "worse"
    assert points(found, "top1", "a|occlusion/digits")[1].verdict == "changed"
    assert len(found.alarms("any")) == 2


def test_other_data_is_told_and_no_alarm() -> None:
    ours, theirs = build("a", correct=answers(180)), build("a", correct=answers(90), fingerprint="other")
    found = history(dict([night(1, ours), night(2, theirs)]))
    point = points(found, "top1")[1]
    assert point.verdict == "incomparable" and "fingerprint differs" in point.told and found.alarms("any") == []
    assert any("1 case(s) of the last night cannot be compared" in line for line in history_lines(found, 100))


@pytest.mark.parametrize("n", [4, 5, 9, 10, 31])
def test_the_spread_test_by_scipy(n: int) -> None:
    earlier = np.random.default_rng(n).normal(size=n)
    p, middle = spread_test(1.5, earlier)
    factor = {4: 1.363, 5: 1.206, 9: 1.107}.get(n, n / (n - 0.8))
    scale = factor * median_abs_deviation(earlier, scale="normal") * math.sqrt(1 + math.pi / (2 * n))
    assert middle == pytest.approx(np.median(earlier))
    assert p == pytest.approx(2 * student.sf(abs(1.5 - middle) / scale, 0.88 * (n // 2)))


@pytest.mark.parametrize("n", [4, 5, 6, 7, 8, 10, 15, 30])
def test_of_equal_nights_the_spread_test_calls_no_more_different_than_it_says(n: int) -> None:
    rng = np.random.default_rng(n)
    trials = 3000
    p = np.array([spread_test(rng.normal(), rng.normal(size=n))[0] for _ in range(trials)])
    for level, most in ((0.05, 0.05), (0.01, 0.01), (0.001, 0.0011)):
        # Four standard errors of a simulation of so many trials.
        assert np.mean(p <= level) <= most + 4 * math.sqrt(most / trials)
    # And it is no test that never speaks.
    assert np.mean(p <= 0.05) >= 0.025


def test_one_slow_night_among_the_earlier_ones_hides_nothing() -> None:
    earlier = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01]
    assert spread_test(1.5, earlier)[0] < 0.01 and spread_test(1.5, [*earlier, 9.0])[0] < 0.01


def test_equal_values_have_no_spread() -> None:
    assert spread_test(1.0, [1.0] * 4) == (1.0, 1.0) and spread_test(1.1, [1.0] * 4) == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least 2 finite"):
        spread_test(1.0, [1.0])


def test_equal_nights_give_no_alarm_more_often_than_the_level() -> None:
    rng, alarms, histories = np.random.default_rng(0), 0, 60
    for _ in range(histories):
        runs = dict(
            night(day, *(timed(float(rng.lognormal(0, 0.3)), name) for name in "abcdefgh")) for day in range(1, 8)
        )
        found = history(runs, min_change=0.0)
        alarms += any(point.verdict in ("worse", "better") for point in found.points)
    # 0.05 of 60 is 3; more than 8 has a chance below 0.004 under it.
    assert alarms <= 8


def test_too_few_nights_on_the_same_hardware() -> None:
    fits = [1.0, 1.01, 0.99, 1.0, 9.0]
    found = history(dict(night(day, timed(fit, cpu="new" if day == 3 else "one")) for day, fit in enumerate(fits, 1)))
    last = points(found, "fit")[-1]
    assert (
        last.verdict == "too few nights" and last.told == f"3 earlier night(s) on this hardware, {EARLIER} are needed"
    )
    assert last.hardware == "unknown, one, 2 core(s), on cpu, 1 thread(s)"
    assert found.alarms("speed") == []


@pytest.mark.parametrize(("factor", "verdict"), [(2.0, "worse"), (0.5, "better"), (1.04, "same")])
def test_a_speed_beyond_the_spread(factor: float, verdict: str) -> None:
    rng = np.random.default_rng(0)
    fits = [*np.exp(rng.normal(0, 0.003, size=12)), factor]
    runs = dict(night(day, timed(float(fit), images_per_second=float(100 / fit))) for day, fit in enumerate(fits, 1))
    found = history(runs)
    assert points(found, "fit")[-1].verdict == points(found, "images_per_second")[-1].verdict == verdict
    assert points(found, "fit")[-1].before == pytest.approx(math.exp(np.median(np.log(fits[:-1]))))
    assert points(found, "fit")[-1].unit == "s" and points(found, "images_per_second")[-1].unit == "images/s"
    kinds = {point.measure for point in found.alarms("speed")}
    assert kinds == ({"fit", "images_per_second"} if verdict == "worse" else set())


def test_what_slows_all_cases_is_seen_before_any_case_alone() -> None:
    rng = np.random.default_rng(1)
    names = [f"b{index}" for index in range(60)]
    runs = dict(
        night(day, *(timed(float(rng.lognormal(0, 0.1) * (1.5 if day == 8 else 1.0)), name) for name in names))
        for day in range(1, 9)
    )
    found = history(runs)
    assert points(found, "fit", ALL_CASES)[-1].verdict == "worse"
    assert points(found, "fit", ALL_CASES)[-1].value == pytest.approx(1.5, rel=0.1)


def test_cached_features_took_no_time() -> None:
    found = history(dict(night(day, timed(1.0)) for day in (1, 2)))
    assert points(found, "extract") == points(found, "images_per_second") == [] and len(points(found, "fit")) == 2


def test_changes_of_versions_and_hardware() -> None:
    newer = replace(timed(1.0, "b"), environment={**CPU, "packages": {"torch": "2.10"}})
    found = history(dict([night(1, timed(1.0), timed(1.0, "b")), night(2, timed(1.0), newer)]))
    assert found.changes == {1: [("packages.torch", "2.9", "2.10 or 2.9")]}
    assert "       packages.torch: 2.9 -> 2.10 or 2.9" in history_lines(found, 100)


def test_the_table_shows_what_changed_and_the_csv_all() -> None:
    runs = dict(
        night(day, build("a", correct=answers(right)), build("b", correct=answers(100)))
        for day, right in enumerate((180, 180, 120), 1)
    )
    found = history(runs)
    lines = history_lines(found, 100)
    assert (
        "scores: 1 of 2 rows changed beyond noise (paired tests against the night before, Holm over 4 tests)" in lines
    )
    assert "case                 2026-11-01 2026-11-02 2026-11-03" in lines
    assert "a|linear/digits top1    90.00      90.00      60.00 ▼" in lines
    assert not any(line.startswith("b|linear/digits") for line in lines) and "▼ worse" in lines
    assert any(line.startswith("b|linear/digits top1") for line in history_lines(found, 100, everything=True))
    narrow = history_lines(found, 40)
    assert "a|linear/digits top1    60.00 ▼" in narrow and "(2 earlier night(s) do not fit; --csv has all)" in narrow
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert tuple(rows[0]) == CSV_COLUMNS and len(rows) == len(found.points)
    last = next(row for row in rows if (row["case"], row["measure"], row["night"]) == ("a|linear/digits", "top1", "3"))
    assert (last["value"], last["before"], last["verdict"], last["date"]) == (
        "60.0",
        "90.0",
        "worse",
        "2026-11-03T01:00:00+00:00",
    )


def test_what_is_no_history() -> None:
    one = dict([night(1, build("a"))])
    for runs, told in (
        ({}, "a history is of one run or more"),
        ({**one, "empty": []}, "the run empty holds no usable record"),
        ({**one, "twice": [build("a"), build("a")]}, "twice has several of one"),
    ):
        with pytest.raises(RecordError, match=told):
            history(runs)
    runs = dict([night(1, build("a")), night(2, build("a"))])
    with pytest.raises(RecordError, match="level of a history"):
        history(runs, level=0.0)
    with pytest.raises(RecordError, match="least change"):
        history(runs, min_change=-1.0)


def test_a_first_night_is_no_error_and_no_alarm() -> None:
    found = history(dict([night(1, timed(1.0))]))
    assert found.alarms("any") == [] and {point.verdict for point in found.points} == {"first", "too few nights"}
    assert "scores: nothing to compare; no case was run anew on two nights" in history_lines(found, 80)


def test_independent_equal_scores_give_no_alarm_more_often_than_the_level() -> None:
    rng, alarms, histories = np.random.default_rng(0), 0, 40
    for _ in range(histories):
        runs = dict(
            night(day, *(build(name, correct=list(rng.random(300) < 0.7)) for name in "abcdefgh"))
            for day in range(1, 6)
        )
        alarms += any(point.verdict in ("worse", "better") for point in history(runs).points)
    # 0.05 of 40 is 2; more than 6 has a chance below 0.004 under it.
    assert alarms <= 6
