"""`file:PATH?arch=TIMM_ARCH`: a checkpoint file, and any name with a file beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslbench.backbones.source import BackboneSource, Request

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone


def _load(request: Request) -> Backbone:
    from sslbench.backbones.file_source import load_file_backbone

    if request.checkpoint is not None:
        return load_file_backbone(request.name, request.checkpoint, request.options, arch=request.bare)
    return load_file_backbone(request.name, request.rest, request.options)


SOURCE = BackboneSource("file", _load, literal=True, takes_checkpoint=True)
