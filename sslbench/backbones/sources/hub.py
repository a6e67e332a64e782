"""`hub:OWNER/REPO[:REF]:ENTRY`: a network of torch.hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslbench.backbones.source import BackboneSource, Request

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone


def _load(request: Request) -> Backbone:
    from sslbench.backbones.python_source import load_hub_backbone

    return load_hub_backbone(request.name, request.rest, request.options)


SOURCE = BackboneSource("hub", _load, literal=True)
