"""A source: one way in which a name becomes a backbone, declared without its numerics.

Each is a module of `sslbench.backbones.sources` with a `SOURCE`; here is what such a declaration says, and how the source of
a name is found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.config import default_cache_dir, expand
from sslbench.errors import BackboneError
from sslbench.registry import Registry

if TYPE_CHECKING:
    from sslbench.backbones.backbone import Backbone
    from sslbench.backbones.options import Options


@dataclass(frozen=True)
class Request:
    """A backbone that is asked for.

    name: as the user gave it. bare: without options. options: to be taken; what nobody took is an error afterwards.
    checkpoint: a file of weights that was given beside the name. cache_dir: where it was told that fetched and converted
    checkpoints are.
    """

    name: str
    bare: str
    options: Options
    checkpoint: str | None = None
    cache_dir: str | PathLike[str] | None = None

    @property
    def rest(self) -> str:
        """What follows `SCHEME:`."""
        return self.bare.partition(":")[2]

    @property
    def directory(self) -> Path:
        """`cache_dir` or its default. Raises SettingsError where there is none."""
        return default_cache_dir() if self.cache_dir is None else expand(self.cache_dir)


def _no_names() -> Sequence[str]:
    return ()


def _any_rest(bare: str) -> None:
    """What a name means shows when it is loaded."""


@dataclass(frozen=True)
class BackboneSource:
    """Where backbones come from.

    name: of the source; `NAME:...` is its own where `scheme` is set. load: builds what is asked for; imports torch and the like
    when it is called, as `check`, `names` and `more` may not. names: those it can list, which are its own. check: raises
    UnknownNameError for a bare name of its own that means nothing. more: names that only a glob searches which matches nothing
    else, since asking is costly. place: in which order sources are asked and listed, the smallest first. literal: whether `*` and
    `[` belong to its names, as in paths. takes_checkpoint: whether `load` knows what to do with a file beside the name.
    reserved: whether registered names may not begin with its scheme. any_name: whether what is nobody else's is its own.
    """

    name: str
    load: Callable[[Request], Backbone]
    scheme: bool = True
    names: Callable[[], Sequence[str]] = _no_names
    check: Callable[[str], None] = _any_rest
    more: Callable[[], Sequence[str]] = _no_names
    place: int = 50
    literal: bool = False
    takes_checkpoint: bool = False
    reserved: bool = False
    any_name: bool = False

    @property
    def prefix(self) -> str:
        """With what its names begin; empty without a scheme."""
        return f"{self.name}:" if self.scheme else ""

    def owns(self, bare: str) -> bool:
        """Whether a bare name is this source's."""
        return self.any_name or (self.scheme and bare.startswith(self.prefix)) or bare in self.names()


SOURCES: Registry[BackboneSource] = Registry("source of backbones", clash=BackboneError)


def in_order() -> list[BackboneSource]:
    """Every source, in the order in which they are asked and listed."""
    return sorted((SOURCES[name] for name in SOURCES), key=lambda source: source.place)


def owner(bare: str) -> BackboneSource:
    """The source of a bare name; timm takes what is nobody's."""
    return next(source for source in in_order() if source.owns(bare))


def listed() -> list[str]:
    """The names that sources list."""
    return [name for source in in_order() for name in source.names()]
