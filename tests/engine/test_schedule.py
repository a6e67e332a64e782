"""List scheduling against every order there is, and against what any schedule must keep to."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations

import pytest

from sslbench.engine.schedule import Unit, schedule, ways


def by_the_clock(units: Sequence[Unit], order: Sequence[str], devices: int) -> int:
    """Whole seconds until all is done, second by second: each that may and fits begins, in a given order."""
    by_name = {unit.name: unit for unit in units}
    left: dict[str, int] = {}
    done: set[str] = set()
    place: dict[str, int] = {}
    now = 0
    while len(done) < len(units):
        for name in order:
            unit = by_name[name]
            if name in left or not done.issuperset(unit.after):
                continue
            beside = [other for other in left if other not in done]
            used = [
                sum(by_name[other].share for other in beside if place[other] == number) for number in range(devices)
            ]
            fitting = [number for number in range(devices) if used[number] + unit.share <= 1 + 1e-9]
            if fitting:
                left[name], place[name] = int(unit.seconds), max(fitting, key=lambda number: used[number])
        now += 1
        for name in [name for name in left if name not in done]:
            left[name] -= 1
            if left[name] == 0:
                done.add(name)
    return now


def drawn(generator: random.Random, count: int) -> list[Unit]:
    units: list[Unit] = []
    for number in range(count):
        after = tuple(unit.name for unit in units if generator.random() < 0.25)
        units.append(Unit(f"u{number}", generator.randint(1, 6), after, generator.choice([1.0, 1.0, 0.5, 0.25])))
    return units


@pytest.mark.parametrize("seed", range(12))
def test_it_is_what_the_clock_says_of_the_longest_way_first(seed):
    generator = random.Random(seed)
    units, devices = drawn(generator, 9), generator.randint(1, 3)
    far = ways(units)
    order = sorted(far, key=lambda name: (-far[name], name))
    assert schedule(units, devices).wall == by_the_clock(units, order, devices)


@pytest.mark.parametrize("seed", range(6))
def test_whole_devices_are_used_within_graham_s_bound_of_the_best_of_all_orders(seed):
    generator = random.Random(seed)
    units = [Unit(unit.name, unit.seconds, unit.after) for unit in drawn(generator, 6)]
    best = min(by_the_clock(units, order, 2) for order in permutations([unit.name for unit in units]))
    assert best <= schedule(units, 2).wall <= 1.5 * best


def test_longest_first_need_not_be_best():
    # The textbook's example: 3 + 3 and 2 + 2 + 2 take 6.
    units = [Unit(name, seconds) for name, seconds in zip("abcde", (3, 3, 2, 2, 2), strict=True)]
    assert schedule(units, 2).wall == 7


@pytest.mark.parametrize("seed", range(5))
def test_no_device_is_given_twice_and_nothing_begins_too_early(seed):
    generator = random.Random(100 + seed)
    units = drawn(generator, 40)
    found = schedule(units, 3)
    for unit in units:
        assert all(found.end[name] <= found.start[unit.name] for name in unit.after)
        beside = [
            other for other in units
            if found.device[other.name] == found.device[unit.name]
            and found.start[other.name] <= found.start[unit.name] < found.end[other.name]
        ]  # fmt: skip
        assert sum(other.share for other in beside) <= 1
    area = sum(unit.seconds * unit.share for unit in units)
    assert found.wall >= max(area / 3, *ways(units).values())


def test_four_quarters_are_one():
    assert schedule([Unit(str(number), 5.0, share=0.25) for number in range(8)], 2).wall == 5
    assert schedule([Unit(str(number), 5.0, share=0.25) for number in range(9)], 2).wall == 10


def test_devices_that_nobody_needs_take_no_room():
    assert schedule([Unit("a", 5.0), Unit("b", 2.0)], 10**15).wall == 5


def test_a_case_without_seconds_is_done_at_once():
    assert schedule([Unit("a", 0.0), Unit("b", 2.0, ("a",))], 1).wall == 2
    assert schedule([], 4).wall == 0


@pytest.mark.parametrize(
    ("units", "devices", "told"),
    [
        ([Unit("a", 1.0)], 0, "one device or more, got 0"),
        ([Unit("a", 1.0, share=1.5)], 1, "shares of more than 0 and at most 1"),
        ([Unit("a", 1.0), Unit("a", 2.0)], 1, "different names"),
        ([Unit("a", 1.0, ("b",))], 1, "a waits for b"),
        ([Unit("a", 1.0, ("b",)), Unit("b", 1.0, ("a",))], 1, "in a circle"),
    ],
)
def test_what_cannot_be_scheduled_is_told(units, devices, told):
    with pytest.raises(ValueError, match=told):
        schedule(units, devices)
