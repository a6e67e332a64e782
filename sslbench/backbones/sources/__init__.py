"""Where backbones come from, one file each.

A module of this package declares one source as `SOURCE`; it needs no entry anywhere else. Importing the declarations needs
neither torch nor timm: what loads is imported by `load`.
"""

from __future__ import annotations

import importlib
import pkgutil

from sslbench.backbones.source import SOURCES


def discover() -> None:
    """Make every source of this package known."""
    for module in pkgutil.iter_modules(__path__):
        source = importlib.import_module(f"{__name__}.{module.name}").SOURCE
        SOURCES.add(source.name, source)


discover()
