"""Parts of a session's cases: each case once, features once, loads near each other, on every machine the same."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import pytest

from sslbench.backbones import expand_backbones
from sslbench.engine import sharding
from sslbench.engine.cost import expected
from sslbench.engine.sharding import Shard, declared_seconds, parse_shard, shards
from sslbench.errors import SettingsError
from sslbench.tasks import Task, expand_tasks, suite


def paper() -> list[tuple[str, Task]]:
    backbones = expand_backbones(suite("paper").backbones)
    pairs = product(backbones, expand_tasks(None, "paper"))
    return [pair for pair in pairs if suite("paper").has(*pair)]


@pytest.mark.parametrize("count", [1, 2, 7, 8, 1000])
def test_every_case_is_in_one_shard_and_a_backbone_on_a_dataset_in_one(count: int) -> None:
    cases = paper()
    numbers = shards(cases, count)
    assert numbers.keys() == set(cases) and set(numbers.values()) <= set(range(1, count + 1))
    together = {((backbone, task.dataset), number) for (backbone, task), number in numbers.items()}
    assert len(together) == len({(backbone, task.dataset) for backbone, task in cases})


def test_the_order_of_the_cases_and_how_often_they_are_asked_for_say_nothing() -> None:
    cases = paper()
    shuffled = [*cases, *cases[:50]]
    random.Random(0).shuffle(shuffled)
    assert shards(shuffled, 8) == shards(cases, 8)
    # Sums of floats depend on their order; the shards must not.
    uneven = {case: random.Random(str(case)).random() for case in cases}
    assert shards(shuffled, 8, lambda *case: uneven[case]) == shards(cases, 8, lambda *case: uneven[case])


def test_loads_are_near_each_other() -> None:
    loads = dict.fromkeys(range(1, 9), 0.0)
    for case, number in shards(paper(), 8).items():
        loads[number] += declared_seconds(*case)
    assert max(loads.values()) < 1.02 * sum(loads.values()) / 8


def brute_force(costs: list[float], count: int) -> float:
    return min(
        max(sum(cost for cost, place in zip(costs, places, strict=True) if place == number) for number in range(count))
        for places in product(range(count), repeat=len(costs))
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_longest_shard_is_within_grahams_bound_of_the_best(seed: int) -> None:
    rng = random.Random(seed)
    cases = [(f"b{index}", Task("knn", "digits")) for index in range(7)]
    costs = {case: rng.choice([1.0, 2.0, 3.0, 5.0, 8.0]) for case in cases}
    loads = [0.0] * 3
    for case, number in shards(cases, 3, lambda *one: costs[one]).items():
        loads[number - 1] += costs[case]
    assert max(loads) <= (4 / 3 - 1 / 9) * brute_force(list(costs.values()), 3) + 1e-9


def test_free_cases_are_spread_too() -> None:
    cases = [(f"b{index}", Task("knn", "digits")) for index in range(8)]
    numbers = list(shards(cases, 4, lambda *case: 0.0).values())
    assert sorted(numbers) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_more_shards_than_cases_leave_some_empty() -> None:
    assert shards([("a", Task("knn", "digits"))], 3) == {("a", Task("knn", "digits")): 1}
    assert shards([], 3) == {}


def test_a_shard_is_k_of_n() -> None:
    assert parse_shard("2/8") == Shard(2, 8) and parse_shard(" 1 / 1 ".strip()) == Shard(1, 1)
    assert str(Shard(2, 8)) == "2/8"


@pytest.mark.parametrize("text", ["0/8", "9/8", "a/b", "-1/8", "1/0", "0/0", "3", "1/2/3", "1.5/8", "/", "²/8", ""])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(SettingsError, match=r"takes K/N, the K-th of N parts with K from 1 to N, such as 2/8; got "):
        parse_shard(text)


def test_costs_come_from_names_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shards(paper(), 8)
    # Neither what lies on a machine nor what a network is changes the parts.
    monkeypatch.setenv("SSLBENCH_DATA", str(tmp_path))
    sharding._of_declared_data.cache_clear()
    assert shards(paper(), 8) == before
    folder = tmp_path / "absent"
    assert declared_seconds("mine", Task("finetune", f"folder:{folder}")) == 30 * declared_seconds(
        "mine", Task("linear", f"folder:{folder}")
    )
    assert (
        declared_seconds("mine", Task("finetune", "food")) == expected("supervised", Task("finetune", "food")).seconds
    )
