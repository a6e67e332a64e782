"""Depth of every pixel by a probe of frozen maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sslbench.datasets import Depths
from sslbench.protocols import _dense_probe_options as probe
from sslbench.protocols.registry import ProtocolSpec

if TYPE_CHECKING:
    from sslbench.protocols.base import Protocol

_PROBES = ("linear",)


def canonical(text: str) -> str | None:
    """The one spelling of a variant, or None for what is none."""
    probed = probe.parse(text, _PROBES)
    return None if probed is None else str(probed)


def build(variant: str) -> Protocol[Any]:
    """The protocol of a variant."""
    from sslbench.protocols._dense_probe import DenseProbe

    return DenseProbe("depth", variant, _PROBES)


SPEC = ProtocolSpec(
    "depth",
    1,
    build,
    "depth of every pixel by a linear layer on frozen maps; root mean square error",
    takes=(Depths,),
    variants=_PROBES,
    other_variant=canonical,
    variant_help=probe.help_of(_PROBES),
    by_name=True,
)
