"""`hf-hub:OWNER/NAME`: a repository of Hugging Face that holds a timm model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslbench.backbones.source import BackboneSource, Request

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone


def _load(request: Request) -> Backbone:
    from sslbench.backbones.timm_source import build_timm

    return build_timm(request.name, request.bare, request.options, pretrained=True)


SOURCE = BackboneSource("hf-hub", _load, literal=True)
