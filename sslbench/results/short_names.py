"""Long names for the columns and rows of a table: what several share in front is told once beside the table."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sslbench.results.record import Record

# A name up to this length takes no more room than a score with its heading; a prefix must be worth its explanation.
LONGEST, WORTH = 24, 10

ELLIPSIS = "…"
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

# What is said of a network, as opposed to where it is, stays in sight.
_KEPT = re.compile(r"(random-init:)*")


@dataclass(frozen=True)
class ShortNames:
    """What a table prints for backbones and tasks by their full names; notes: what the short forms stand for, in lines."""

    backbones: Mapping[str, str]
    tasks: Mapping[str, str]
    notes: tuple[str, ...]


def short_names(records: Iterable[Record]) -> ShortNames:
    """Short forms for the table of these records; every name itself where nothing is gained or two would be equal.

    Of `file:`, `folder:`, `python:` and `hub:` names the path, module or repository that they share is left out. Records
    and files keep full names.
    """
    records = list(records)
    backbones = {record.backbone["name"]: _parts(record.backbone["name"]) for record in records}
    tasks = {record.task["id"]: _task_parts(record) for record in records}
    prefixes = _prefixes([body for _, body, _ in (*backbones.values(), *tasks.values())])
    signs = {
        prefix: ELLIPSIS if len(prefixes) == 1 else f"{str(number).translate(_RAISED)}{ELLIPSIS}"
        for number, prefix in enumerate(prefixes, start=1)
    }
    short_backbones = {name: _shortened(parts, signs) for name, parts in backbones.items()}
    short_tasks = {name: _shortened(parts, signs) for name, parts in tasks.items()}
    if any(len(set(short.values())) < len(short) for short in (short_backbones, short_tasks)):
        return ShortNames({name: name for name in backbones}, {name: name for name in tasks}, ())
    notes = tuple(f"{sign} stands for {prefix}" for prefix, sign in signs.items())
    return ShortNames(short_backbones, short_tasks, notes)


_Parts = tuple[str, str, str]


def _parts(name: str) -> _Parts:
    kept = _KEPT.match(name)
    start = kept.end() if kept is not None else 0
    return name[:start], name[start:], ""


def _task_parts(record: Record) -> _Parts:
    task, head, dataset = record.task["id"], f"{record.task['protocol']}/", record.task["dataset"]
    tail = task.removeprefix(head + dataset)
    return (head, dataset, tail) if task == head + dataset + tail else ("", task, "")


def _shortened(parts: _Parts, signs: Mapping[str, str]) -> str:
    head, body, tail = parts
    found = [prefix for prefix in signs if body.startswith(prefix)]
    if not found:
        return head + body + tail
    prefix = max(found, key=len)
    return head + signs[prefix] + body[len(prefix) :] + tail


def _prefixes(bodies: Collection[str]) -> list[str]:
    """The prefixes to leave out, sorted: again and again the one that spares the most, until none is worth it."""
    chosen: list[str] = []
    left = set(bodies)
    while True:
        spared: dict[str, int] = {}
        for body in left:
            for prefix in _candidates(body):
                spared[prefix] = spared.get(prefix, 0) + len(prefix) - len(ELLIPSIS)
        # The longer of two that spare as much, and among equals the first, whatever the order of the names.
        best = max(sorted(spared), key=lambda prefix: (spared[prefix], len(prefix)), default=None)
        if best is None:
            return sorted(chosen)
        chosen.append(best)
        left = {body for body in left if not body.startswith(best)}


def _candidates(body: str) -> list[str]:
    """Prefixes of a long name up to a separator before its options, none of them short."""
    if len(body) <= LONGEST:
        return []
    place = body.partition("?")[0]
    module = place.rpartition(":")[0]
    ends = [
        index + 1
        for index, character in enumerate(place[:-1])
        # A dot separates modules, but nothing in a file's name.
        if character in "/:" or (character == "." and index < len(module))
    ]
    return [place[:end] for end in ends if ":" in place[:end] and end >= WORTH]
