"""Names of backbones: controls, the zoo, published checkpoints, registered ones, and the open families timm, hub:, file:
and python:.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import entry_points
from os import PathLike
from typing import TYPE_CHECKING, Any

from sslbench.backbones.checkpoints.catalogue import CHECKPOINTS
from sslbench.backbones.nearest import foreign_id
from sslbench.backbones.zoo import SCHEME, read_card, zoo_names
from sslbench.config import default_cache_dir, default_offline, expand
from sslbench.errors import BackboneError, UnknownNameError
from sslbench.names import is_glob, matches, unknown
from sslbench.offline import offline as no_connection
from sslbench.registry import Registry

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone

CONTROLS = ("random-init", "pixels", "colour-histogram")
ENTRY_POINT_GROUP = "sslbench.backbones"
_RESERVED = (f"{SCHEME}:", "random-init:")

FACTORIES: Registry[Callable[[], Any]] = Registry("backbone", clash=BackboneError)


def register_backbone(name: str, factory: Callable[[], Any] | None = None) -> Callable[..., Any]:
    """Make a backbone known by name; use it directly or as a decorator.

    factory: called without arguments on first use; returns an nn.Module or a Backbone. Packages can instead declare
    an entry point in the group `sslbench.backbones` that names the factory.
    Raises BackboneError when the name is taken or begins with `zoo:` or `random-init:`, which never reach a factory.
    """
    if factory is None:
        return lambda decorated: register_backbone(name, decorated)
    if name in (*CONTROLS, *zoo_names(), *CHECKPOINTS):
        raise BackboneError(f"the backbone {name!r} is already registered; choose another name")
    if name.startswith(_RESERVED):
        raise BackboneError(
            f"{name!r}: names that begin with {' or '.join(_RESERVED)} are sslbench's; choose another name"
        )
    return FACTORIES.add(name, factory)


@cache
def _installed() -> dict[str, Callable[[], Any]]:
    return {point.name: _lazy(point) for point in entry_points(group=ENTRY_POINT_GROUP)}


def _lazy(point: Any) -> Callable[[], Any]:
    return lambda: point.load()()


def _named() -> dict[str, Callable[[], Any]]:
    return {**_installed(), **{name: FACTORIES[name] for name in FACTORIES}}


def list_backbones(pattern: str = "*", *, timm: bool = False) -> list[str]:
    """Names that match the glob: controls, the zoo, published checkpoints and registered ones.

    timm: timm's pretrained models too.
    """
    names = [*CONTROLS, *zoo_names(), *CHECKPOINTS, *sorted(_named())]
    if timm:
        from sslbench.backbones.timm_source import timm_names

        names += timm_names(pretrained=True)
    return [name for name in names if matches(name, pattern)]


def expand_backbones(patterns: Iterable[str]) -> list[str]:
    """Names for the patterns of a command line, in the order given, each once.

    A name without wildcard that belongs to an open family passes as it is, without importing it. Globs search the
    controls, the zoo, checkpoints and registered names first and timm's pretrained models only when nothing else matches.
    Raises UnknownNameError for what matches nothing.
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        for name in _expand(pattern):
            chosen[name] = None
    return list(chosen)


def _expand(pattern: str) -> list[str]:
    bare = pattern.partition("?")[0]
    scheme, colon, rest = bare.partition(":")
    if scheme == "random-init" and rest.startswith(f"{SCHEME}:"):
        read_card(rest)
    if colon and scheme in ("hub", "hf-hub", "file", "python", "random-init"):
        return [pattern]
    if bare in CONTROLS or bare in CHECKPOINTS or bare in _named():
        return [pattern]
    if is_glob(bare):
        names = list_backbones(pattern) or list_backbones(pattern, timm=True)
        if not names:
            raise UnknownNameError(f"the glob {pattern!r} matches no backbone; known: {', '.join(list_backbones())}")
        return names
    if colon and scheme == SCHEME:
        read_card(bare)
    else:
        _check_timm(bare)
    return [pattern]


def _check_timm(bare: str) -> None:
    import timm

    if not timm.is_model(bare.partition(".")[0]):
        from sslbench.backbones.timm_source import timm_names

        if "/" in bare and ":" not in bare:
            raise foreign_id(bare, timm_names(pretrained=True))
        hint = (
            "A backbone is a timm name, hf-hub:OWNER/NAME, hub:OWNER/REPO:ENTRY, file:PATH?arch=..., python:MODULE:FACTORY or "
            "registered"
        )
        raise unknown("backbone", bare, [*list_backbones(), *timm_names(), *timm_names(pretrained=True)], hint)


def load_backbone(
    name: str,
    *,
    checkpoint: str | None = None,
    device: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    offline: bool | None = None,
) -> Backbone:
    """Load a backbone by name.

    checkpoint: the file of a published checkpoint `name`, or a file whose weights go into the timm architecture `name`
    (the same as `file:PATH?arch=NAME`). device: where the weights go; default CPU. cache_dir: where fetched and converted
    checkpoints are; default `sslbench.config.default_cache_dir()`. offline: open no connection (`sslbench.offline`); default
    `$HF_HUB_OFFLINE`.
    Raises UnknownNameError for an unknown name and BackboneError when it cannot be built.
    """
    with no_connection(default_offline() if offline is None else offline):
        backbone = _load(name, checkpoint, cache_dir)
    return backbone if device is None else backbone.to(device)


def _load(name: str, checkpoint: str | None, cache_dir: str | PathLike[str] | None) -> Backbone:
    from sslbench.backbones import controls, file_source, python_source, timm_source, zoo
    from sslbench.backbones.checkpoints.load import load_checkpoint
    from sslbench.backbones.options import parse_name

    bare, options = parse_name(name)
    scheme, colon, rest = bare.partition(":")
    if bare in CHECKPOINTS:
        directory = default_cache_dir() if cache_dir is None else expand(cache_dir)
        backbone = load_checkpoint(name, bare, options, checkpoint=checkpoint, cache_dir=directory)
    elif checkpoint is not None:
        backbone = file_source.load_file_backbone(name, checkpoint, options, arch=bare)
    elif scheme == "random-init":
        backbone = controls.random_init(name, rest, options)
    elif bare == "pixels":
        backbone = controls.statistic(name, controls.Pixels())
    elif bare == "colour-histogram":
        backbone = controls.statistic(name, controls.ColourHistogram())
    elif colon and scheme == SCHEME:
        backbone = zoo.load_zoo(name, bare, options)
    elif bare in _named():
        backbone = python_source.wrap(name, _named()[bare](), options, recipe=f"registered:{bare}")
    elif colon and scheme == "file":
        backbone = file_source.load_file_backbone(name, rest, options)
    elif colon and scheme == "hub":
        backbone = python_source.load_hub_backbone(name, rest, options)
    elif colon and scheme == "python":
        backbone = python_source.load_python_backbone(name, rest, options)
    else:
        if not bare.startswith(timm_source.HUB):
            _check_timm(bare)
        backbone = timm_source.build_timm(name, bare, options, pretrained=True)
    options.finish()
    # A factory may return a Backbone that was named elsewhere; records and tables use the name that was asked for.
    backbone.name = name
    return backbone
