"""Parts of a session's cases for machines that know nothing of each other: `--sslbench-shard K/N`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from sslbench.errors import SettingsError

if TYPE_CHECKING:
    from sslbench.tasks import Task

Case = tuple[str, "Task"]


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `count` parts, counted from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str, label: str = "--sslbench-shard") -> Shard:
    """The shard that `K/N` names. label: of the option, for the message. Raises SettingsError for anything else."""
    match = re.fullmatch(r"(\d+)\s*/\s*(\d+)", text, flags=re.ASCII)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        raise SettingsError(
            f"{label} takes K/N, the K-th of N parts with K from 1 to N, such as 2/8; got {text!r}"
            + (f": the parts are counted from 1/{count}" if match and count and not number else "")
        )
    return Shard(number, count)


def declared_seconds(backbone: str, task: Task) -> float:
    """What a case costs beside others, from names alone, so that it is the same on every machine.

    For data whose size is declared it is what a ResNet-50 is expected to take, whatever the backbone: to count another network
    takes importing it. For other data a training is worth thirty linear probes of a minute.
    """
    from sslbench.protocols import protocol_spec

    known = _of_declared_data(task)
    # In the committed baseline the median training takes thirty times as long as a linear probe.
    return known if known is not None else 60.0 * (30.0 if protocol_spec(task.protocol).by_name else 1.0)


@lru_cache(maxsize=1024)
def _of_declared_data(task: Task) -> float | None:
    from sslbench.datasets import dataset_spec
    from sslbench.engine.cost import expected

    # Other sets would be opened, and may lie on some of the machines only.
    if dataset_spec(task.dataset).expected is None:
        return None
    return expected("supervised", task).seconds


def shards(
    cases: Iterable[Case], count: int, seconds: Callable[[str, Task], float] = declared_seconds
) -> dict[Case, int]:
    """The shard of each case, from 1 to `count`, whatever the order of the cases.

    One backbone's cases on one dataset stay together, so that their features are extracted once. These units go, the most
    expensive first, to the shard with the least to do (Graham, "Bounds on multiprocessing timing anomalies", SIAM Journal on
    Applied Mathematics 17 (1969) 416-429).

    seconds: of a case. It must give the same on every machine: a measured time would split the cases another way on each.
    """
    units: dict[tuple[str, str], list[Case]] = {}
    for backbone, task in sorted(set(cases)):
        units.setdefault((backbone, task.dataset), []).append((backbone, task))
    costs = {unit: math.fsum(seconds(*case) for case in members) for unit, members in units.items()}
    loads = [(0.0, 0, number) for number in range(1, count + 1)]
    found: dict[Case, int] = {}
    for unit in sorted(units, key=lambda unit: (-costs[unit], unit)):
        # Of shards with equal loads the one with fewer cases, so that a cost of zero does not heap them up.
        least = min(loads)
        load, size, number = least
        loads[loads.index(least)] = (load + costs[unit], size + len(units[unit]), number)
        found |= dict.fromkeys(units[unit], number)
    return found
