"""Markers: known where sslbench is used, read with care, and `gpu` obeyed by sslbench's own tests."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from sslbench.errors import DeviceError, SslbenchError
from sslbench.names import is_glob, matches, unknown

OWN = "sslbench"
EXAMPLE = '@pytest.mark.sslbench(protocol="knn")'
# Names that other projects give a meaning of their own.
_COMMON = {
    "slow": "left out of a quick run, for its own time or that of its pictures; for nightly runs",
    "gpu": "needs a usable GPU; skipped with a reason where there is none",
    "download": "needs the network or data that must be fetched",
}
_KNOWN = pytest.StashKey[set[str]]()


def register_own(config: pytest.Config) -> None:
    """Make `sslbench` itself known."""
    text = f"{OWN}(protocol): parametrise this test over the session's cases of a protocol (a name or glob)"
    config.addinivalue_line("markers", text)


def register_common(config: pytest.Config) -> None:
    """Make the others known, those that declared protocols have among them, once a session is known to use sslbench.

    A project that does not must still be told of a `slow` that it has not declared. Called again, it adds what has been
    declared since.
    """
    from sslbench.protocols import list_protocols, protocol_spec

    known = config.stash.setdefault(_KNOWN, set())
    specs = [protocol_spec(name) for name in list_protocols()]
    declared = {spec.own_marker: f"protocol {spec.name}: {spec.summary}" for spec in specs}
    more = {name: "declared by a protocol" for spec in specs for name in spec.markers}
    for name, text in {**more, **declared, **_COMMON}.items():
        if name not in known:
            known.add(name)
            config.addinivalue_line("markers", f"{name}: {text}")


def register_for_module(config: pytest.Config, path: Path) -> None:
    """Make the others known before a test module that speaks of sslbench is imported, which looks its markers up."""
    if not config.stash.get(_KNOWN, set()):
        with contextlib.suppress(OSError):
            if OWN.encode() in path.read_bytes():
                register_common(config)


def protocol_of(definition: pytest.Function) -> str:
    """The protocol, a name or glob, that a test's marker asks for. Raises pytest.UsageError, which names the test."""
    from sslbench.protocols import list_protocols

    mark = definition.get_closest_marker(OWN)
    where = definition.nodeid
    if mark is None:
        raise pytest.UsageError(f"{where}: mark it @pytest.mark.sslbench(protocol=...), such as {EXAMPLE}")
    given = [*mark.args, *(value for name, value in mark.kwargs.items() if name == "protocol")]
    if foreign := sorted(mark.kwargs.keys() - {"protocol"}):
        raise pytest.UsageError(
            f"{where}: @pytest.mark.sslbench has no argument {', '.join(foreign)}; expected protocol=..., such as {EXAMPLE}"
        )
    if len(given) != 1 or not isinstance(given[0], str):
        got = ", ".join(map(repr, given)) or "nothing"
        raise pytest.UsageError(f"{where}: @pytest.mark.sslbench takes one protocol, such as {EXAMPLE}, got {got}")
    known = list_protocols()
    if not any(matches(name, given[0]) for name in known):
        error: SslbenchError = unknown("protocol", given[0], known)
        told = f"no protocol matches {given[0]!r}; known: {', '.join(known)}" if is_glob(given[0]) else str(error)
        raise pytest.UsageError(f"{where}: @pytest.mark.sslbench: {told}")
    return given[0]


def skip_without_gpu(device: str) -> None:
    """Skip where no GPU can be used, tried by an allocation."""
    from sslbench.features.device import resolve_device

    try:
        usable = device != "cpu" and resolve_device(device) != "cpu"
    except DeviceError as error:
        pytest.skip(f"needs a usable GPU; {error}")
    if not usable:
        pytest.skip("needs a usable GPU; none could be allocated on, or --sslbench-device is cpu")
