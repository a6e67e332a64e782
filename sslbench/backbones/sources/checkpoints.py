"""Published ResNet-50s by name, such as `swav` or `byol?padding=same`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslbench.backbones.checkpoints.catalogue import CHECKPOINTS
from sslbench.backbones.source import BackboneSource, Request

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone


def _names() -> Sequence[str]:
    return list(CHECKPOINTS)


def _load(request: Request) -> Backbone:
    from sslbench.backbones.checkpoints.load import load_checkpoint

    return load_checkpoint(
        request.name, request.bare, request.options, checkpoint=request.checkpoint, cache_dir=request.directory
    )


SOURCE = BackboneSource("checkpoints", _load, scheme=False, names=_names, place=20, takes_checkpoint=True)
