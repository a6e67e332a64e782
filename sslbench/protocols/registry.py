"""Names of protocols; the code behind one is imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sslbench.compat import parse_compat
from sslbench.registry import Registry

if TYPE_CHECKING:
    from sslbench.protocols.base import EpisodicProtocol, SplitProtocol


@dataclass(frozen=True)
class ProtocolSpec:
    """The declaration of a protocol.

    factory: `module:callable`, called with the variant (empty when there is none) and, when there are `switches`, with
    `compat`, the choice of each. version: raised whenever a score could change; it is part of every task's version.
    variants: the ones a task can name (`20shot`). markers: pytest markers of its cases, such as `gpu` or `slow`.
    switches: those of `sslbench.compat.SWITCHES` that the protocol itself obeys.
    """

    name: str
    version: int
    factory: str
    summary: str
    kind: str = "recognition"
    variants: Sequence[str] = ("",)
    markers: Sequence[str] = ()
    switches: Sequence[str] = ()

    def build(self, variant: str, compat: Mapping[str, str] | None = None) -> SplitProtocol | EpisodicProtocol:
        """The protocol itself; of the compat switches those that are not given take their default."""
        module, _, attribute = self.factory.partition(":")
        factory: Any = getattr(importlib.import_module(module), attribute)
        built: Any = factory(variant, compat=parse_compat(compat or {})) if self.switches else factory(variant)
        return built  # type: ignore[no-any-return]


PROTOCOLS: Registry[ProtocolSpec] = Registry("protocol")


def register_protocol(spec: ProtocolSpec) -> ProtocolSpec:
    """Make a protocol known by name. Raises SslbenchError when another declaration has the name."""
    return PROTOCOLS.add(spec.name, spec)


def protocol_spec(name: str) -> ProtocolSpec:
    """The declaration behind a name; UnknownNameError lists the nearest known ones."""
    return PROTOCOLS[name]


def list_protocols(kind: str | None = None) -> list[str]:
    """Names of protocols, of one dataset kind if given, in the order of registration."""
    return [name for name in PROTOCOLS if kind in (None, PROTOCOLS[name].kind)]


register_protocol(
    ProtocolSpec(
        "linear",
        3,
        "sslbench.protocols.linear:Linear",
        "logistic regression on frozen features, L2 by validation",
        switches=("linear-solver", "linear-selection", "voc2007-penalty"),
    )
)
register_protocol(
    ProtocolSpec("knn", 1, "sslbench.protocols.knn:NearestNeighbours", "weighted cosine 20-nearest-neighbour vote")
)
register_protocol(
    ProtocolSpec(
        "fewshot",
        1,
        "sslbench.protocols.fewshot:FewShot",
        "nearest centroid over 600 five-way episodes",
        variants=("5shot", "20shot", "50shot"),
    )
)
