"""Backbones: a pretrained network, its own preprocessing, pooled embeddings and feature maps.

The registry needs no torch; the classes load it on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sslbench.backbones.registry import CONTROLS, expand_backbones, list_backbones, load_backbone, register_backbone

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone, Network
    from sslbench.backbones.preprocessing import Preprocessing

_LAZY = {"Backbone": "backbone", "Network": "backbone", "Preprocessing": "preprocessing"}

__all__ = [
    "CONTROLS", "Backbone", "Network", "Preprocessing", "expand_backbones", "list_backbones", "load_backbone",
    "register_backbone",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"sslbench.backbones.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'sslbench.backbones' has no attribute {name!r}")
