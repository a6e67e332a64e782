"""Tasks (protocol x dataset x variant), and which of them a suite or a list of globs names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sslbench.datasets import FAMILIES, Family, dataset_spec, family_of, list_datasets, tidy_folder
from sslbench.errors import SslbenchError, UnknownNameError
from sslbench.names import is_glob, matches, select, unknown
from sslbench.protocols import ProtocolSpec, list_protocols, protocol_spec
from sslbench.registry import Registry
from sslbench.studies import Suite, studies

__all__ = [
    "CHOSEN", "Suite", "Task", "case_id", "dataset_tasks", "expand_tasks", "list_suites", "list_tasks", "parse_task",
    "register_suite", "suite", "within_suite",
]  # fmt: skip

# What a run is called whose tasks are not all its suite's.
CHOSEN = "chosen"


@dataclass(frozen=True, order=True)
class Task:
    """One task; its id is `protocol/dataset[/variant]`."""

    protocol: str
    dataset: str
    variant: str = ""

    @property
    def id(self) -> str:
        """`protocol/dataset[/variant]`."""
        return "/".join(filter(None, (self.protocol, self.dataset, self.variant)))

    @property
    def markers(self) -> list[str]:
        """pytest markers that the protocol and the dataset declare for their cases."""
        spec = protocol_spec(self.protocol)
        return sorted({spec.own_marker, *spec.markers, *dataset_spec(self.dataset).markers})


def case_id(backbone: str, task: Task, *, with_protocol: bool = False) -> str:
    """The pytest id BACKBONE-DATASET[-VARIANT]; a test over several protocols puts the protocol after the backbone."""
    return "-".join(filter(None, (backbone, task.protocol if with_protocol else "", task.dataset, task.variant)))


SUITES: Registry[Suite] = Registry("suite")
"""Suites of no study."""


def _suites() -> Registry[Suite]:
    known: Registry[Suite] = Registry("suite")
    for suite in (*(suite for study in studies() for suite in study.suites), *(SUITES[name] for name in SUITES)):
        known.add(suite.name, suite)
    return known


def register_suite(suite: Suite) -> Suite:
    """Make a suite known by name. Raises SslbenchError when another one has the name, or runs outside of a suite have it."""
    if suite.name == CHOSEN:
        raise SslbenchError(f"a suite cannot be called {CHOSEN!r}, as runs of tasks from outside of a suite are")
    _suites().add(suite.name, suite)
    return SUITES.add(suite.name, suite)


def suite(name: str) -> Suite:
    """The suite behind a name; UnknownNameError lists the nearest known ones."""
    return _suites()[name]


def list_suites(pattern: str = "*") -> list[str]:
    """Names of suites that match the glob, sorted."""
    return _suites().names(pattern)


def dataset_tasks(dataset: str) -> list[Task]:
    """Every task a dataset can have."""
    spec = dataset_spec(dataset)
    return [
        Task(protocol, dataset, variant)
        for protocol in list_protocols(spec.targets)
        if spec.protocols is None or protocol in spec.protocols
        for variant in protocol_spec(protocol).variants
    ]


def list_tasks(pattern: str = "*", suite_name: str | None = None) -> list[str]:
    """The ids of tasks, which are `PROTOCOL/DATASET` or `PROTOCOL/DATASET/VARIANT`.

    Args:
        pattern: A glob with `*` and `[...]`.
        suite_name: List the tasks of this suite; by default those of every declared dataset.

    Returns:
        Ids that match, sorted.

    Raises:
        UnknownNameError: For a suite that nobody declared.

    Example:
        >>> import sslbench
        >>> sslbench.list_tasks("knn/*", suite_name="embedded")
        ['knn/digits', 'knn/world-colour', 'knn/world-count', 'knn/world-shape', 'knn/world-texture']
    """
    tasks = [task.id for dataset in list_datasets() for task in dataset_tasks(dataset)]
    if suite_name is not None:
        named = suite(suite_name).tasks
        single = {parse_task(name).id for name in named if not is_glob(name)}
        found = set[str]()
        for glob in filter(is_glob, named):
            found.update(task for task in select("task", tasks, [glob]) if _stands_for(glob.partition("/")[0], task))
        tasks = sorted(single | found)
    return sorted(task for task in tasks if matches(task, pattern))


def _stands_for(protocol: str, task: str) -> bool:
    """Whether a glob for a protocol, that it matches, stands for that of a task: `*` not for one that is to be named."""
    return protocol != "*" or not protocol_spec(task.partition("/")[0]).by_name


def expand_tasks(patterns: Iterable[str] | None, suite_name: str) -> list[Task]:
    """The tasks of a suite, or those that the patterns name, sorted by id.

    A glob chooses within the suite. A full task id may name any registered dataset, and a pattern with `folder:PATH`, or
    another family of folders, reaches that folder's tasks without registration (`linear/folder:PATH`, `*/folder:PATH*`).
    Raises UnknownNameError for what matches nothing.
    """
    inside = list_tasks(suite_name=suite_name)
    if patterns is None:
        return sorted(parse_task(task) for task in inside)
    chosen: set[Task] = set()
    for pattern in patterns:
        protocol, _, rest = pattern.partition("/")
        if family := family_of(rest):
            chosen.update(_folder_tasks(family, protocol, rest, pattern))
        elif family := _family_within(pattern):
            scheme, path = family.scheme, pattern.partition(f"{family.scheme}:")[2]
            takers = list_protocols(family.targets)
            example = "knn" if "knn" in takers else next(iter(takers), "PROTOCOL")
            raise UnknownNameError(
                f"{pattern!r} names no task: a folder's are PROTOCOL/{scheme}:PATH, such as {example}/{scheme}:{path}, or "
                f"*/{scheme}:{path}* for all of them"
            )
        elif is_glob(pattern):
            chosen.update(parse_task(task) for task in select(f"task of the suite {suite_name}", inside, [pattern]))
        else:
            chosen.add(parse_task(pattern))
    return sorted(chosen)


def within_suite(patterns: Iterable[str] | None, suite_name: str) -> bool:
    """Whether patterns, as for `expand_tasks`, can name tasks of the suite only."""
    inside = list_tasks(suite_name=suite_name)
    return all(pattern in inside or (is_glob(pattern) and not _family_within(pattern)) for pattern in patterns or ())


def _family_within(pattern: str) -> Family | None:
    """The family whose scheme stands first in a pattern, wherever that is."""
    places = {scheme: pattern.find(f"{scheme}:") for scheme in FAMILIES}
    found = [scheme for scheme, place in places.items() if place >= 0]
    return FAMILIES[min(found, key=places.__getitem__)] if found else None


def _folder_tasks(family: Family, protocol: str, rest: str, pattern: str) -> list[Task]:
    known = list_protocols(family.targets)
    if not known:
        raise UnknownNameError(f"{pattern!r} names no task: no protocol takes {family.targets.kind}")
    names = [name for name in known if matches(name, protocol) and _stands_for(protocol, name)]
    if not names and protocol == "*":
        folder, example = rest.removesuffix("*").rstrip("/"), known[0]
        full = "/".join(filter(None, (example, folder, protocol_spec(example).variants[0])))
        raise UnknownNameError(
            f"{pattern!r} names no task: * does not stand for {', '.join(known)}, which run when named; name one, as in {full}"
        )
    if not names and protocol in list_protocols():
        taken = " or ".join(kind.kind for kind in protocol_spec(protocol).takes)
        raise UnknownNameError(
            f"{pattern!r} names no task: {protocol} takes {taken}, but {family.scheme}: has {family.targets.kind}, for which "
            f"there is {', '.join(known)}"
        )
    if not names:
        raise unknown("protocol", protocol, known, f"It was asked for by {pattern!r}")
    tasks = [(name, variant) for name in names for variant in protocol_spec(name).variants]
    head, _, tail = rest.rpartition("/")
    # The last part may name variants (20shot, *shot, *); everything before it is the folder then.
    named = [(name, variant) for name, variant in tasks if variant and matches(variant, tail)]
    if len(names) == 1 and not named and not is_glob(tail) and (variant := protocol_spec(names[0]).variant(tail)):
        named = [(names[0], variant)]
    if named:
        folder, tasks = (
            tidy_folder(head),
            [(name, variant) for name, variant in tasks if matches(variant, tail)] or named,
        )
    else:
        folder = tidy_folder(rest.removesuffix("*"))
        if not rest.endswith("*"):
            # Where a protocol is something without a variant, that alone is meant.
            tasks = [
                (name, variant) for name, variant in tasks if not variant or "" not in protocol_spec(name).variants
            ]
    # An option that cannot be is told before anything runs.
    dataset_spec(folder)
    return [Task(name, folder, variant) for name, variant in tasks]


def _unknown_variant(spec: ProtocolSpec, variant: str) -> UnknownNameError:
    if listed := [*filter(None, spec.variants)]:
        return unknown(f"variant of {spec.name}", variant, listed, spec.variant_help)
    told = spec.variant_help or "it has none"
    return UnknownNameError(f"unknown variant of {spec.name} {variant!r}; {told}")


def parse_task(text: str) -> Task:
    """A Task from `protocol/dataset[/variant]`; UnknownNameError for an unknown part."""
    protocol, _, rest = text.partition("/")
    spec = protocol_spec(protocol)
    head, _, tail = rest.rpartition("/")
    variant = spec.variant(tail) if head and tail else None
    if variant is None and head in list_datasets():
        raise _unknown_variant(spec, tail)
    task = Task(protocol, rest) if variant is None else Task(protocol, head, variant)
    known = [candidate.id for candidate in dataset_tasks(task.dataset)]
    # Where a variant is not listed, those that are tell whether the dataset has such tasks at all.
    probed = [task.variant] if task.variant in spec.variants or variant is None else spec.variants
    if not any(Task(protocol, task.dataset, listed).id in known for listed in probed):
        targets = dataset_spec(task.dataset).targets
        if not spec.fits(targets):
            taken = " or ".join(kind.kind for kind in spec.takes)
            raise UnknownNameError(
                f"{text!r} names no task: {protocol} takes {taken}, but {task.dataset} has {targets.kind}"
            )
        raise unknown("task", text, known)
    return task
