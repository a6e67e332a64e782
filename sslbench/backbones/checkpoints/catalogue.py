"""Every declared checkpoint: the study's in the order of its tables, then ResNet-50s of the same kind."""

from __future__ import annotations

from collections.abc import Mapping

from sslbench.backbones.checkpoints import byol, hub_files, moco, pycontrast, simclr, supervised, swav
from sslbench.backbones.checkpoints.declaration import CheckpointSpec
from sslbench.names import unknown

_STUDY = (
    pycontrast.INSDIS, moco.MOCO_V1, moco.PCL_V1, pycontrast.PIRL, moco.PCL_V2, simclr.SIMCLR_V1, moco.MOCO_V2,
    simclr.SIMCLR_V2, swav.SELA_V2, pycontrast.INFOMIN, byol.BYOL, swav.DEEPCLUSTER_V2, swav.SWAV, supervised.SUPERVISED,
)  # fmt: skip

CHECKPOINTS: Mapping[str, CheckpointSpec] = {spec.name: spec for spec in (*_STUDY, *hub_files.SPECS)}


def checkpoint_spec(name: str) -> CheckpointSpec:
    """The declaration of a checkpoint. Raises UnknownNameError."""
    if name not in CHECKPOINTS:
        raise unknown("checkpoint", name, CHECKPOINTS)
    return CHECKPOINTS[name]
