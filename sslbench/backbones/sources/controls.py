"""`random-init[:ARCH]`, `pixels` and `colour-histogram`: backbones that know nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslbench.backbones.source import BackboneSource, Request
from sslbench.backbones.zoo import SCHEME, read_card

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone

CONTROLS = ("random-init", "pixels", "colour-histogram")


def _check(bare: str) -> None:
    arch = bare.partition(":")[2]
    if arch.startswith(f"{SCHEME}:"):
        read_card(arch)


def _load(request: Request) -> Backbone:
    from sslbench.backbones import controls

    if request.bare == "pixels":
        return controls.statistic(request.name, controls.Pixels())
    if request.bare == "colour-histogram":
        return controls.statistic(request.name, controls.ColourHistogram())
    return controls.random_init(request.name, request.rest, request.options)


SOURCE = BackboneSource(
    "random-init", _load, names=lambda: CONTROLS, check=_check, place=0, literal=True, reserved=True
)
