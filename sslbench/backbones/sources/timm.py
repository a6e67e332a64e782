"""timm's pretrained models by their own names, and the answer to names that are nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslbench.backbones.nearest import foreign_id
from sslbench.backbones.source import BackboneSource, Request, listed
from sslbench.names import unknown

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone

_HINT = (
    "A backbone is a timm name, hf-hub:OWNER/NAME, hub:OWNER/REPO:ENTRY, wheel:NAME, file:PATH?arch=..., python:MODULE:FACTORY "
    "or registered"
)


def _pretrained() -> Sequence[str]:
    from sslbench.backbones.timm_source import timm_names

    return timm_names(pretrained=True)


def _check(bare: str) -> None:
    import timm

    if timm.is_model(bare.partition(".")[0]):
        return
    if "/" in bare and ":" not in bare:
        raise foreign_id(bare, _pretrained())
    from sslbench.backbones.timm_source import timm_names

    raise unknown("backbone", bare, [*listed(), *timm_names(), *_pretrained()], _HINT)


def _load(request: Request) -> Backbone:
    from sslbench.backbones.timm_source import build_timm

    return build_timm(request.name, request.bare, request.options, pretrained=True)


SOURCE = BackboneSource("timm", _load, scheme=False, check=_check, more=_pretrained, place=100, any_name=True)
