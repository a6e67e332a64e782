"""Names that users register, in code or by an entry point of their package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from sslbench.backbones.source import BackboneSource, Request, in_order
from sslbench.errors import BackboneError
from sslbench.registry import Registry

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone

ENTRY_POINT_GROUP = "sslbench.backbones"

FACTORIES: Registry[Callable[[], Any]] = Registry("backbone", clash=BackboneError)


def register_backbone(name: str, factory: Callable[[], Any] | None = None) -> Callable[..., Any]:
    """Make a backbone known by a name of its own; call it, or use it as a decorator.

    Packages can instead declare an entry point in the group `sslbench.backbones` that names the factory.

    Args:
        name: What it is called on command lines and in records.
        factory: Called without arguments when the backbone is first used; returns an nn.Module or a Backbone. Left out, the
            call gives a decorator.

    Returns:
        The factory, or the decorator.

    Raises:
        BackboneError: Where the name is taken, or begins with `zoo:` or `random-init:`, which never reach a factory.

    Example:
        >>> import sslbench
        >>> @sslbench.register_backbone("mean-colour")
        ... def mean_colour():
        ...     from torch import nn
        ...     return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> sslbench.list_backbones("mean-*")
        ['mean-colour']
    """
    if factory is None:
        return lambda decorated: register_backbone(name, decorated)
    others = [source for source in in_order() if source is not SOURCE]
    if any(name in source.names() for source in others):
        raise BackboneError(f"the backbone {name!r} is already registered; choose another name")
    reserved = sorted((source.prefix for source in others if source.reserved), key=len)
    if name.startswith(tuple(reserved)):
        raise BackboneError(
            f"{name!r}: names that begin with {' or '.join(reserved)} are sslbench's; choose another name"
        )
    return FACTORIES.add(name, factory)


@cache
def _installed() -> dict[str, Callable[[], Any]]:
    return {point.name: _lazy(point) for point in entry_points(group=ENTRY_POINT_GROUP)}


def _lazy(point: Any) -> Callable[[], Any]:
    return lambda: point.load()()


def _factories() -> dict[str, Callable[[], Any]]:
    return {**_installed(), **{name: FACTORIES[name] for name in FACTORIES}}


def _names() -> Sequence[str]:
    return sorted(_factories())


def _load(request: Request) -> Backbone:
    from sslbench.backbones.python_source import wrap

    built = _factories()[request.bare]()
    return wrap(request.name, built, request.options, recipe=f"registered:{request.bare}")


# Before the schemes of open families, so that whoever registers such a name means it.
SOURCE = BackboneSource("registered", _load, scheme=False, names=_names, place=40, literal=True)
