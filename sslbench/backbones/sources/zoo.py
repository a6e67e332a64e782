"""`zoo:NAME`: the small backbones that come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslbench.backbones.source import BackboneSource, Request
from sslbench.backbones.zoo import SCHEME, load_zoo, read_card, zoo_names

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone


def _check(bare: str) -> None:
    read_card(bare)


def _load(request: Request) -> Backbone:
    return load_zoo(request.name, request.bare, request.options)


SOURCE = BackboneSource(SCHEME, _load, names=zoo_names, check=_check, place=10, reserved=True)
