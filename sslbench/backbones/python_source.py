"""Backbones from code: `python:pkg.module:factory` and torch.hub entries."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.error import URLError

from torch import nn

from sslbench.backbones.backbone import Backbone
from sslbench.backbones.module_network import ModuleNetwork
from sslbench.backbones.options import Options
from sslbench.backbones.preprocessing import IMAGENET_MEAN, IMAGENET_STD, PRESETS, Preprocessing
from sslbench.config import default_offline
from sslbench.errors import BackboneError
from sslbench.names import unknown


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


def wrap(name: str, built: Any, options: Options, *, recipe: str) -> Backbone:
    """A Backbone from what a factory returned: a Backbone, or an nn.Module.

    The module's attributes `input_size` (pixels, or (H, W)), `mean` and `std` set the preprocessing; the defaults are
    224 and ImageNet's. Raises BackboneError for anything else.
    """
    if isinstance(built, Backbone):
        options.finish()
        return built
    if not isinstance(built, nn.Module):
        raise BackboneError(f"{name}: expected an nn.Module or a Backbone, got {type(built).__name__}")
    preset, pooling = options.text("preprocessing"), options.pooling()
    if preset and preset not in PRESETS:
        raise unknown("preprocessing preset", preset, PRESETS)
    if preset and "size" in options.values:
        raise BackboneError(f"{name}: the preset {preset!r} fixes the input size; give preprocessing or size, not both")
    size: Any = options.integer("size", 0) or getattr(built, "input_size", 224)
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    network = ModuleNetwork(built, pooling)
    own = Preprocessing(
        input_size=(height, width),
        resize=min(height, width),
        mean=_triple(name, "mean", getattr(built, "mean", IMAGENET_MEAN)),
        std=_triple(name, "std", getattr(built, "std", IMAGENET_STD)),
    )
    return Backbone(
        name=name,
        network=network,
        preprocessing=PRESETS[preset] if preset else own,
        recipe=f"{recipe}:{type(built).__name__}:{_code_digest(built)}",
        pooling=pooling,
        details={"source": recipe, "removed_head": network.removed_head},
    )


def _code_digest(module: nn.Module) -> str:
    # The weights do not tell when forward() is edited or a parameterless layer replaced; structure and source do.
    digest = hashlib.sha256(repr(module).encode())
    for cls in sorted({type(part) for part in module.modules()}, key=lambda cls: (cls.__module__, cls.__qualname__)):
        if cls.__module__.startswith("torch."):
            continue
        digest.update(_source(cls).encode())
    return digest.hexdigest()[:16]


def _source(cls: type[nn.Module]) -> str:
    # torch.hub forgets the module of a class it loaded; its functions still know their file.
    for what in (cls, cls.forward):
        try:
            return inspect.getsource(what)
        except (OSError, TypeError):
            continue
    # Code that cannot be seen cannot be recognised again: a fresh value keeps its features from being reused.
    return uuid.uuid4().hex


def _triple(name: str, what: str, value: Any) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(channel) for channel in value)
    except (TypeError, ValueError) as error:
        raise BackboneError(f"{name}: attribute {what} must hold three numbers, got {value!r}") from error
    return red, green, blue


def load_hub_backbone(name: str, target: str, options: Options) -> Backbone:
    """`hub:OWNER/REPO[:REF]:ENTRY` through torch.hub, with its pretrained weights.

    torch.hub runs the repository's code: name only repositories you trust. Raises BackboneError when the entry or its
    weights cannot be had.
    """
    import torch

    repository, _, entry = target.rpartition(":")
    if repository.count("/") != 1 or not entry:
        raise BackboneError(f"{name}: expected hub:OWNER/REPO[:REF]:ENTRY, got {target!r}")
    if default_offline() and not _hub_checkout(repository).is_dir():
        raise BackboneError(
            f"{name}: offline, and {_hub_checkout(repository)} is not there; fetch it once with a network"
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


def _hub_checkout(repository: str) -> Path:
    # torch.hub's own naming: OWNER_REPO_REF, main when no ref is given.
    import torch

    project, _, ref = repository.partition(":")
    return Path(torch.hub.get_dir()) / f"{project.replace('/', '_')}_{(ref or 'main').replace('/', '_')}"
