"""Backbones from code: `python:pkg.module:factory` and torch.hub entries."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

from sslbench.backbones.backbone import Backbone
from sslbench.backbones.module_source import wrap
from sslbench.backbones.options import Options
from sslbench.config import default_offline
from sslbench.errors import BackboneError

__all__ = ["load_hub_backbone", "load_python_backbone", "wrap"]


def load_python_backbone(name: str, target: str, options: Options) -> Backbone:
    """Import `pkg.module:factory` (the current directory is importable) and call it without arguments."""
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise BackboneError(f"{name}: expected python:PACKAGE.MODULE:FACTORY, got {target!r}")
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        factory = getattr(importlib.import_module(module_name), attribute, None)
        if not callable(factory):
            raise BackboneError(f"{name}: {module_name} has no callable {attribute!r}")
        # Inside the same block: a factory may import its neighbours when it is called.
        built = factory()
    except ModuleNotFoundError as error:
        raise BackboneError(
            f"{name}: cannot import {module_name}: {error}; run from its folder or install it"
        ) from error
    finally:
        if added:
            sys.path.remove(here)
    return wrap(name, built, options, recipe=f"python:{target}")


def load_hub_backbone(name: str, target: str, options: Options) -> Backbone:
    """`hub:OWNER/REPO[:REF]:ENTRY` through torch.hub, with its pretrained weights.

    torch.hub runs the repository's code: name only repositories you trust. Raises BackboneError when the entry or its
    weights cannot be had.
    """
    import torch

    repository, _, entry = target.rpartition(":")
    if repository.count("/") != 1 or not entry:
        raise BackboneError(f"{name}: expected hub:OWNER/REPO[:REF]:ENTRY, got {target!r}")
    if default_offline() and not any(place.is_dir() for place in _hub_checkouts(repository)):
        raise BackboneError(
            f"{name}: offline, and {_hub_checkouts(repository)[0]} is not there; fetch it once with a network"
        )
    try:
        hub: Any = torch.hub
        built = hub.load(repository, entry, trust_repo=True, skip_validation=True)
    except (OSError, URLError, RuntimeError, ValueError, ImportError) as error:
        raise BackboneError(
            f"{name}: torch.hub could not load {entry} from {repository}: {error}. Without a network, put the repository "
            f"and its weights into {torch.hub.get_dir()} beforehand"
        ) from error
    return wrap(name, built, options, recipe=f"hub:{target}")


def _hub_checkouts(repository: str) -> list[Path]:
    # torch.hub's own naming: OWNER_REPO_REF, main or master when no ref is given.
    import torch

    project, _, ref = repository.partition(":")
    refs = [ref.replace("/", "_")] if ref else ["main", "master"]
    return [Path(torch.hub.get_dir()) / f"{project.replace('/', '_')}_{ref}" for ref in refs]
