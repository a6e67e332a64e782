"""Semantic segmentation: UPerNet on the network's maps, mean overlap."""

from __future__ import annotations

from sslbench.datasets import Masks
from sslbench.protocols._dense_options import SEGMENTATION
from sslbench.protocols._dense_trained import TrainedDense
from sslbench.protocols.registry import ProtocolSpec


def build(variant: str) -> TrainedDense:
    """The protocol of a variant."""
    return TrainedDense(SEGMENTATION, variant)


SPEC = ProtocolSpec(
    "segmentation",
    1,
    build,
    "UPerNet on the network's maps, mean overlap",
    takes=(Masks,),
    other_variant=SEGMENTATION.canonical,
    variant_help=SEGMENTATION.help,
    by_name=True,
)
