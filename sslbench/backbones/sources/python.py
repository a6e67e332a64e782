"""`python:PACKAGE.MODULE:FACTORY`: a network from code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslbench.backbones.source import BackboneSource, Request

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone


def _load(request: Request) -> Backbone:
    from sslbench.backbones.python_source import load_python_backbone

    return load_python_backbone(request.name, request.rest, request.options)


SOURCE = BackboneSource("python", _load, literal=True)
