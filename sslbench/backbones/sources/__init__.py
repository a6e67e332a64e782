"""Where backbones come from, one file each.

A module of this package declares one source as `SOURCE`; it needs no entry anywhere else. Importing the declarations needs
neither torch nor timm: what loads is imported by `load`.
"""

from __future__ import annotations

from sslbench.backbones.source import SOURCES
from sslbench.registry import declared


def discover() -> None:
    """Make every source of this package known."""
    for source in declared(__name__, __path__, "SOURCE"):
        SOURCES.add(source.name, source)


discover()
