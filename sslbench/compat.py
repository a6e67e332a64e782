"""The switches of all studies: choices on which paper, official code and good practice differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sslbench.errors import SslbenchError
from sslbench.names import unknown
from sslbench.studies import Switch, studies


def switches() -> Mapping[str, Switch]:
    """Every switch by name."""
    return {name: switch for study in studies() for name, switch in study.switches.items()}


def concerning(protocol: str, dataset: str, declared: Collection[str]) -> list[str]:
    """The switches that can change a score of a protocol on a dataset. declared: those that its declaration names."""
    return [
        name
        for study in studies()
        for name, switch in study.switches.items()
        if (not switch.protocols or protocol in switch.protocols)
        and (switch.scope == "all" or (dataset in study.datasets if switch.scope == "study" else name in declared))
    ]


def parse_compat(items: Mapping[str, str]) -> dict[str, str]:
    """Every switch with its value, given or default. Raises for an unknown switch or choice."""
    known = switches()
    for name, value in items.items():
        if name not in known:
            raise unknown("compat switch", name, known)
        if value not in known[name].choices:
            raise SslbenchError(f"compat switch {name}: expected {' or '.join(known[name].choices)}, got {value!r}")
    return {name: items.get(name, switch.default) for name, switch in known.items()}
