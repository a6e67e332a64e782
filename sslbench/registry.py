"""One register of names for whatever is declared, and one way in which a package finds its declarations."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from sslbench.errors import SslbenchError
from sslbench.names import matches, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Things by name, in the order in which they came.

    kind: what one of them is called in messages. clash: the error for a name that something else has. hint: added to the
    message about an unknown name.
    """

    def __init__(self, kind: str, *, clash: type[SslbenchError] = SslbenchError, hint: str = "") -> None:
        self.kind, self.clash, self.hint = kind, clash, hint
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> T:
        """Make an item known; the same one again changes nothing. Raises `clash` where another one has the name."""
        if self._items.setdefault(name, item) != item:
            raise self.clash(f"the {self.kind} {name!r} is already registered; choose another name")
        return item

    def __getitem__(self, name: str) -> T:
        """The item of a name. Raises UnknownNameError, which lists the nearest known names."""
        if name not in self._items:
            raise unknown(self.kind, name, self._items, self.hint)
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def names(self, pattern: str = "*") -> list[str]:
        """Names that equal the pattern or match it as a glob, sorted."""
        return sorted(name for name in self._items if matches(name, pattern))


def declared(package: str, path: Iterable[str], attribute: str) -> list[Any]:
    """`attribute` of every module of a package that has it, by the modules' names, so that adding one touches one file.

    path: the package's `__path__`. Modules that start with an underscore are not imported.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))
    modules = [importlib.import_module(f"{package}.{name}") for name in names]
    return [getattr(module, attribute) for module in modules if hasattr(module, attribute)]
