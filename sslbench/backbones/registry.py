"""Names of backbones: listed, expanded from a command line and loaded, from whatever source (`sslbench.backbones.sources`)."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING

from sslbench.backbones.source import SOURCES, Request, in_order, listed, owner
from sslbench.backbones.sources.controls import CONTROLS
from sslbench.backbones.sources.registered import FACTORIES, register_backbone
from sslbench.config import default_offline
from sslbench.errors import UnknownNameError
from sslbench.names import is_glob, matches
from sslbench.offline import offline as no_connection

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone

__all__ = ["CONTROLS", "FACTORIES", "expand_backbones", "list_backbones", "load_backbone", "register_backbone"]


def list_backbones(pattern: str = "*", *, timm: bool = False) -> list[str]:
    """The names of backbones that are listed: controls, the zoo, published checkpoints, registered ones and those of wheels.

    Others can be loaded without being listed, such as `file:PATH` and `python:MODULE:NAME` (docs/backbones.md).

    Args:
        pattern: A glob with `*` and `[...]`; `?` starts a backbone's options and is no wildcard.
        timm: List timm's pretrained models too, which takes seconds.

    Returns:
        Names that match, in the order of their sources.

    Example:
        >>> import sslbench
        >>> sslbench.list_backbones("zoo:sim*")
        ['zoo:simclr', 'zoo:simclr-nocolour']
    """
    more = [name for source in in_order() for name in source.more()] if timm else []
    return [name for name in (*listed(), *more) if matches(name, pattern)]


def expand_backbones(patterns: Iterable[str]) -> list[str]:
    """Names for the patterns of a command line, in the order given, each once.

    A name without wildcard that belongs to an open family passes as it is, without importing it. Globs search the
    listed names first (`list_backbones`) and timm's pretrained models only when nothing else matches.
    Raises UnknownNameError for what matches nothing.
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        for name in _expand(pattern):
            chosen[name] = None
    return list(chosen)


def _expand(pattern: str) -> list[str]:
    bare = pattern.partition("?")[0]
    source = owner(bare)
    if is_glob(bare) and not source.literal:
        names = list_backbones(pattern) or list_backbones(pattern, timm=True)
        if not names:
            raise UnknownNameError(f"the glob {pattern!r} matches no backbone; known: {', '.join(list_backbones())}")
        return names
    source.check(bare)
    return [pattern]


def load_backbone(
    name: str,
    *,
    checkpoint: str | None = None,
    device: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    offline: bool | None = None,
) -> Backbone:
    """A backbone by its name: a frozen network with its preprocessing.

    Args:
        name: Its name with options (docs/backbones.md).
        checkpoint: The file of a published checkpoint `name`, or a file whose weights go into the timm architecture `name` (the
            same as `file:PATH?arch=NAME`).
        device: Where the weights go, such as `cuda`; by default the CPU.
        cache_dir: Where fetched and converted checkpoints are; by default `$SSLBENCH_CACHE`, else `~/.cache/sslbench`.
        offline: Open no connection; by default as `$HF_HUB_OFFLINE` says.

    Returns:
        The backbone. `embed` takes normalised pictures (B, 3, H, W) and gives features (B, D).

    Raises:
        UnknownNameError: For a name that nobody declared.
        NotInstalledError: For weights that are a package which is not installed; a BackboneError.
        BackboneError: For a backbone that cannot be built: a file that is missing or is another one, tensors that do not fit,
            an option that nothing uses.

    Example:
        >>> import sslbench
        >>> backbone = sslbench.load_backbone("zoo:simclr")
        >>> backbone.preprocessing.input_size
        (64, 64)
        >>> import torch
        >>> tuple(backbone.embed(torch.zeros(2, 3, 64, 64)).shape)
        (2, 96)
    """
    from sslbench.backbones.options import parse_name

    bare, options = parse_name(name)
    request = Request(name, bare, options, checkpoint, cache_dir)
    with no_connection(default_offline() if offline is None else offline):
        backbone = _load(request)
    options.finish()
    # A factory may return a Backbone that was named elsewhere; records and tables use the name that was asked for.
    backbone.name = name
    return backbone if device is None else backbone.to(device)


def _load(request: Request) -> Backbone:
    source = owner(request.bare)
    if request.checkpoint is not None and not source.takes_checkpoint:
        return SOURCES["file"].load(request)
    source.check(request.bare)
    return source.load(request)
