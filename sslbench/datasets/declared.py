"""Declarations are found where they are written, so that adding one touches one file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any


def declared(package: str, path: Iterable[str], attribute: str) -> list[Any]:
    """`attribute` of every module of a package, by the modules' names; modules that start with an underscore declare nothing.

    path: the package's `__path__`. Raises AttributeError for a module without the attribute.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))
    return [getattr(importlib.import_module(f"{package}.{name}"), attribute) for name in names]
