"""Semantic segmentation: UPerNet on the network's maps as in the study, or a probe of frozen maps; mean overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sslbench.datasets import Masks
from sslbench.protocols import _dense_probe_options as probe
from sslbench.protocols._dense_options import SEGMENTATION
from sslbench.protocols.registry import ProtocolSpec

if TYPE_CHECKING:
    from sslbench.protocols.base import Protocol

_PROBES = ("linear", "knn")


def canonical(text: str) -> str | None:
    """The one spelling of a variant, or None for what is none."""
    probed = probe.parse(text, _PROBES)
    return str(probed) if probed is not None else SEGMENTATION.canonical(text)


def build(variant: str) -> Protocol[Any]:
    """The protocol of a variant."""
    if probe.parse(variant, _PROBES) is not None:
        from sslbench.protocols._dense_probe import DenseProbe

        return DenseProbe("segmentation", variant, _PROBES)
    from sslbench.protocols._dense_trained import TrainedDense

    return TrainedDense(SEGMENTATION, variant)


SPEC = ProtocolSpec(
    "segmentation",
    1,
    build,
    "UPerNet on the network's maps, or a probe of frozen ones; mean overlap",
    takes=(Masks,),
    variants=("", *_PROBES),
    other_variant=canonical,
    variant_help=f"{SEGMENTATION.help}; {probe.help_of(_PROBES)}",
    by_name=True,
)
