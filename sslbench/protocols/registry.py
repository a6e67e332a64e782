"""Names of protocols; the numerics behind one are imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sslbench.compat import parse_compat
from sslbench.datasets import Dataset, Labels, Targets
from sslbench.errors import DataError, SslbenchError
from sslbench.names import unknown
from sslbench.registry import Registry, declared

if TYPE_CHECKING:
    from sslbench.protocols.base import Protocol


# What these mean to pytest would happen to the cases.
_PYTESTS_OWN = ("skip", "skipif", "xfail", "parametrize", "usefixtures", "filterwarnings", "tryfirst", "trylast")


@dataclass(frozen=True)
class ProtocolSpec:
    """The declaration of a protocol.

    factory: the class or function, or `module:callable`, called with the variant (empty when there is none) and, when there
    are `switches`, with `compat`, the choice of each. version: raised whenever a score could change; it is part of every
    task's version. summary: a few words, which pytest's list of markers shows too. takes: the types of targets it is for,
    `(Targets,)` for all. variants: the ones a task can name (`20shot`), for which globs stand. other_variant: gives the one
    spelling of a further variant, made of options that cannot all be listed, or None for what is none; an SslbenchError says
    what is wrong with one of them. variant_help: what these can be, for messages. by_name: whether the protocol `*` does not
    stand for it, since it takes hours where others take seconds. learns: the splits that `fit` sees. held_out: what it is
    scored on, the split `test`, or all that the dataset pools for few-shot episodes, or (`test-or-pool`) that where
    there is no split `test`. marker: the pytest marker of its cases,
    its name if not given. markers: more of them, such as `gpu` or `slow`. switches: those of the studies that the protocol
    itself obeys; UnknownNameError for others, when it is built. training_version: raised whenever trained weights could
    change, so that the trials of an earlier version are trained anew; a new `version` alone leaves them. transfer: whether a
    better main score is a better backbone, so that it counts where backbones are ranked over tasks; an analysis, whose main
    score describes a network, does not.
    """

    name: str
    version: int
    factory: Any
    summary: str
    takes: Sequence[type[Targets]] = (Labels,)
    variants: Sequence[str] = ("",)
    other_variant: Callable[[str], str | None] | None = None
    variant_help: str = ""
    by_name: bool = False
    learns: Sequence[str] = ("train", "val")
    held_out: Literal["test", "pool", "test-or-pool"] = "test"
    marker: str = ""
    markers: Sequence[str] = ()
    switches: Sequence[str] = ()
    training_version: int = 1
    transfer: bool = True

    def __post_init__(self) -> None:
        kinds = self.takes if isinstance(self.takes, tuple | list) else ()
        if not kinds or not all(isinstance(kind, type) and issubclass(kind, Targets) for kind in kinds):
            raise SslbenchError(
                f"protocol {self.name}: takes is a tuple of types of targets, such as (Labels,), got {self.takes!r}"
            )
        for what in ("variants", "learns", "markers", "switches"):
            if isinstance(getattr(self, what), str):
                raise SslbenchError(f"protocol {self.name}: {what} is a tuple, such as ('{getattr(self, what)}',)")
        if self.held_out not in ("test", "pool", "test-or-pool"):
            raise SslbenchError(
                f"protocol {self.name}: held_out is 'test', 'pool' or 'test-or-pool', got {self.held_out!r}"
            )
        for marker in (self.own_marker, *self.markers):
            if not marker.isidentifier() or marker in _PYTESTS_OWN:
                raise SslbenchError(
                    f"protocol {self.name}: {marker!r} cannot be the marker of its cases; choose another"
                )

    def variant(self, text: str) -> str | None:
        """The variant that a part of a task's id names, in its one spelling, or None where it names none."""
        if text in self.variants:
            return text
        return self.other_variant(text) if self.other_variant is not None else None

    @property
    def own_marker(self) -> str:
        """The pytest marker that stands for the protocol."""
        return self.marker or self.name

    def build(self, variant: str, compat: Mapping[str, str] | None = None) -> Protocol[Any]:
        """The protocol itself; of the compat switches those that are not given take their default."""
        factory = self.factory
        if isinstance(factory, str):
            module, _, attribute = factory.partition(":")
            factory = getattr(importlib.import_module(module), attribute)
        chosen = parse_compat(compat or {})
        if foreign := [name for name in self.switches if name not in chosen]:
            raise unknown("compat switch", foreign[0], chosen, f"It is named by the protocol {self.name}")
        built: Any = factory(variant, compat=chosen) if self.switches else factory(variant)
        return built  # type: ignore[no-any-return]

    def scored_on(self, dataset: Dataset) -> tuple[str, ...]:
        """The splits of a dataset that are held out for scoring."""
        if self.held_out == "pool" or (self.held_out == "test-or-pool" and "test" not in dataset.splits):
            return tuple(dataset.pool)
        return ("test",)

    def fits(self, targets: type[Targets]) -> bool:
        """Whether it takes such targets; `Targets` itself stands for all."""
        return any(issubclass(targets, kind) for kind in self.takes)

    def check(self, dataset: Dataset) -> None:
        """Raise DataError for a dataset with other targets, or without the splits that the protocol sees."""
        if not self.fits(dataset.target_type):
            taken = " or ".join(kind.kind for kind in self.takes)
            raise DataError(f"this protocol takes {taken}, but {dataset.name} has {dataset.target_type.kind}")
        if both := set(self.learns) & set(self.scored_on(dataset)):
            raise DataError(
                f"this protocol would be scored on what it learned from: {', '.join(sorted(both))} of {dataset.name}; correct "
                "`learns` and `held_out` of its declaration"
            )
        wanted = (*self.learns, *self.scored_on(dataset))
        absent = [name for name in wanted if name not in dataset.splits]
        empty = [name for name in wanted if name not in absent and not len(dataset.splits[name].targets)]
        if absent or empty:
            raise DataError(
                f"this protocol needs the splits {', '.join(wanted)} of {dataset.name}, which has {', '.join(dataset.splits)}"
                + (f", of which {', '.join(empty)} without an image" if empty else "")
            )


PROTOCOLS: Registry[ProtocolSpec] = Registry("protocol")


def register_protocol(spec: ProtocolSpec) -> ProtocolSpec:
    """Make a protocol known by name. Raises SslbenchError when another declaration has the name."""
    return PROTOCOLS.add(spec.name, spec)


def protocol_spec(name: str) -> ProtocolSpec:
    """The declaration behind a name; UnknownNameError lists the nearest known ones."""
    return PROTOCOLS[name]


def list_protocols(targets: type[Targets] | None = None) -> list[str]:
    """Names of protocols, of those that take such targets if given, in the order of registration."""
    return [name for name in PROTOCOLS if targets is None or PROTOCOLS[name].fits(targets)]


def measures_transfer(protocol: str) -> bool:
    """Whether a better main score is a better backbone; the direction of an analysis is nominal.

    A protocol of somebody's conftest.py is not known where only its records are read, and counts as one that does.
    """
    return protocol not in PROTOCOLS or PROTOCOLS[protocol].transfer


def register_package(name: str, path: Iterable[str]) -> None:
    """Register the `SPEC` of every module of a package that declares one. path: the package's `__path__`."""
    for spec in declared(name, path, "SPEC"):
        register_protocol(spec)
