"""What is said of an engine: its own options and those that all have, from one text of `NAME=VALUE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sslbench.engine.base import EngineSpec, Option, yes_or_no
from sslbench.errors import SettingsError
from sslbench.names import unknown


def _versions(text: str) -> str:
    if text not in ("same", "any"):
        raise ValueError("expected same or any")
    return text


def _amount(below: float, of: str) -> Callable[[str], float]:
    """A reader of a number above 0; what is no number at all is told like one that is out of range."""

    def read(text: str) -> float:
        try:
            amount = float(text)
        except ValueError:
            amount = 0.0
        if not 0 < amount < below:
            raise ValueError(f"expected a number of {of}")
        return amount

    return read


COMMON: Mapping[str, Option] = {
    "shared": Option(yes_or_no, True, "yes where all machines see the same cache and results, no for records by value"),
    "versions": Option(_versions, "same", "same to refuse machines with other versions, any to take them"),
    "cpus": Option(
        _amount(1e4, "cores, such as 2"), None, "cores of a case; by default 1, and 2 where it trains on a GPU"
    ),
    "memory": Option(
        _amount(1e5, "GiB, such as 16"), 0.0, "GiB that a case is to have; by default what the machine gives"
    ),
    "gpus": Option(
        _amount(1e3, "GPUs, such as 1 or 0.5"), None, "GPUs of a case; by default 1, a quarter where it is small"
    ),
}


@dataclass(frozen=True)
class EngineSettings:
    """Values of the options that all engines have, and `own` of the engine's."""

    shared: bool
    versions: Literal["same", "any"]
    cpus: float | None
    memory: float
    gpus: float | None
    own: Mapping[str, Any]


def read_engine_settings(spec: EngineSpec, texts: Sequence[str]) -> EngineSettings:
    """Values from texts such as `partition=gpu`. Raises SettingsError and UnknownNameError."""
    known = {**COMMON, **spec.options}
    values = {name: option.default for name, option in known.items()}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise SettingsError(f"--sslbench-engine-options takes NAME=VALUE[,NAME=VALUE], got {text!r}")
        if name not in known:
            raise unknown(f"option of the engine {spec.name}", name, known)
        try:
            values[name] = known[name].read(value)
        except ValueError as error:
            raise SettingsError(
                f"--sslbench-engine-options: {name}={value}: {error} ({name}: {known[name].help})"
            ) from error
    return EngineSettings(**{name: values.pop(name) for name in COMMON}, own=values)
