"""How far two honest runs of a task lie apart on two processors: a training turns a difference of rounding into one of scores."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sslbench.errors import RecordError
from sslbench.results.committed import committed
from sslbench.results.record import Record

FILE = "embedded-again.json"
# With fewer networks nothing is said of a task.
LEAST = 3
# A run of the embedded suite has some fifty cases that are trained: one of twenty fails by chance.
_LEVEL = 0.999
_SAME = ("version", "fingerprint")


@dataclass(frozen=True)
class Spread:
    """Of a task. differences: of a score, second run less first, a network each, in its unit. cpu: of the second run."""

    differences: tuple[float, ...]
    cpu: str

    @property
    def rms(self) -> float:
        """Their root mean square: they are differences of equals, so that their mean is not taken off."""
        return math.sqrt(math.fsum(one * one for one in self.differences) / len(self.differences))

    @property
    def quantile(self) -> float:
        """How many of those one more such difference falls below once in a thousand times: Student's, for so many networks."""
        from scipy.special import stdtrit

        return float(stdtrit(len(self.differences), _LEVEL))


def spread(task: str, first: Mapping[str, Record]) -> Spread | None:
    """How far the scores of a task lay apart. first: the committed references by case; None where too few were run again."""
    second = _second_run()
    found = []
    for case, again in sorted(second.get("cases", {}).items()):
        record = first.get(case)
        if record is not None and record.task["id"] == task and all(again[one] == record.task[one] for one in _SAME):
            found.append(again["value"] - record.main.value)
    return Spread(tuple(found), second["cpu"]) if len(found) >= LEAST else None


def second_run_of(records: Sequence[Record], first: Mapping[str, Record]) -> dict[str, Any]:
    """What the file is to hold of a run of cases that have references.

    Raises RecordError where it is of several machines, of the same processor, or of none of the cases.
    """
    known = [record for record in records if record.case in first]
    if not known:
        raise RecordError("expected records of the embedded suite, found none of its cases")
    cpus = {record.environment["cpu"] for record in known}
    if len(cpus) > 1 or cpus & {first[record.case].environment["cpu"] for record in known}:
        raise RecordError(
            f"expected a run on one processor that is not that of the references, got one on {', '.join(sorted(cpus))}"
        )
    return {
        "created": max(record.created for record in known),
        "cpu": cpus.pop(),
        "cases": {
            record.case: {**{one: record.task[one] for one in _SAME}, "value": record.main.value}
            for record in sorted(known, key=lambda record: record.case)
        },
    }


@cache
def _second_run() -> Mapping[str, Any]:
    path = committed(FILE)
    found: dict[str, Any] = {} if path is None else json.loads(path.read_bytes())
    return found
