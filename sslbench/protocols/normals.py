"""Surface normals: pyramid pooling on the network's last map as in the study, or a probe of frozen maps; mean angle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sslbench.datasets import Normals
from sslbench.protocols import _dense_probe_options as probe
from sslbench.protocols._dense_options import NORMALS
from sslbench.protocols.registry import ProtocolSpec

if TYPE_CHECKING:
    from sslbench.protocols.base import Protocol

_PROBES = ("linear",)


def canonical(text: str) -> str | None:
    """The one spelling of a variant, or None for what is none."""
    probed = probe.parse(text, _PROBES)
    return str(probed) if probed is not None else NORMALS.canonical(text)


def build(variant: str, compat: Mapping[str, str]) -> Protocol[Any]:
    """The protocol of a variant. compat: the choice of each switch."""
    if probe.parse(variant, _PROBES) is not None:
        from sslbench.protocols._dense_probe import DenseProbe

        return DenseProbe("normals", variant, _PROBES)
    from sslbench.protocols._dense_trained import TrainedDense

    return TrainedDense(NORMALS, variant, compat)


SPEC = ProtocolSpec(
    "normals",
    1,
    build,
    "pyramid pooling on the network's last map, or a probe of frozen ones; mean angle",
    takes=(Normals,),
    variants=("", *_PROBES),
    other_variant=canonical,
    variant_help=f"{NORMALS.help}; {probe.help_of(_PROBES)}",
    by_name=True,
    switches=("normals-padding",),
)
