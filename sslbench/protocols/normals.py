"""Surface normals: pyramid pooling on the network's last map, mean angle."""

from __future__ import annotations

from collections.abc import Mapping

from sslbench.datasets import Normals
from sslbench.protocols._dense_options import NORMALS
from sslbench.protocols._dense_trained import TrainedDense
from sslbench.protocols.registry import ProtocolSpec


def build(variant: str, compat: Mapping[str, str]) -> TrainedDense:
    """The protocol of a variant. compat: the choice of each switch."""
    return TrainedDense(NORMALS, variant, compat)


SPEC = ProtocolSpec(
    "normals",
    1,
    build,
    "pyramid pooling on the network's last map, mean angle",
    takes=(Normals,),
    other_variant=NORMALS.canonical,
    variant_help=NORMALS.help,
    by_name=True,
    switches=("normals-padding",),
)
