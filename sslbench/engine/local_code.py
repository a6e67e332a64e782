"""Which code of a process is the user's own, neither installed nor Python's: what has to travel to other machines."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).parents[1]  # sslbench itself


def absolute(path: str) -> str:
    """The path from the root, without `..`; links stay, since it is by its name that Python knows a file."""
    return os.path.normpath(Path(path).absolute())


@dataclass(frozen=True)
class LocalModule:
    """A module by its full name.

    path: its file, empty for a package without `__init__.py`. folders: where a package's submodules are; empty for what is none.
    """

    name: str
    path: str = ""
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class SearchPath:
    """The user's own entries of `sys.path`: those that stand before Python's and the installed packages', and the others."""

    front: tuple[str, ...]
    back: tuple[str, ...]

    @classmethod
    def here(cls) -> SearchPath:
        """Of this process."""
        entries = [entry for entry in map(absolute, sys.path) if entry not in _SCRIPTS]
        own = [_is_own_folder(entry) for entry in entries]
        first = own.index(False) if False in own else len(own)
        chosen = [entry for entry, is_own in zip(entries, own, strict=True) if is_own]
        front = tuple(dict.fromkeys(chosen[:first]))
        return cls(front, tuple(entry for entry in dict.fromkeys(chosen[first:]) if entry not in front))


_PATHS = sysconfig.get_paths()
# Python and its own modules; `pytest` as a script puts the folder of scripts first.
_LIBRARY, _SCRIPTS = Path(_PATHS["stdlib"]), (_PATHS["scripts"],)
_INSTALLED = frozenset(("site-packages", "dist-packages"))


def _is_own_folder(entry: str) -> bool:
    archive = _LIBRARY.with_name(f"python{sys.version_info.major}{sys.version_info.minor}.zip")
    python = {_LIBRARY, _LIBRARY / "lib-dynload", Path(_PATHS["platstdlib"]), archive}
    return not _INSTALLED & set(Path(entry).parts) and Path(entry) not in python


class LocalCode:
    """The modules of this process, and those that they name in import statements, whose files lie below `folders`.

    folders: where the user's own code is. Code in them that is installed, Python's or sslbench's is none of it. working: the
    working directory, where `python:MODULE:FACTORY` is looked for whether or not it is on `sys.path`.
    """

    def __init__(self, folders: Iterable[str], working: str) -> None:
        self._working = working
        self._folders = [Path(folder) for folder in dict.fromkeys(folders)]
        self._others = (_LIBRARY, PACKAGE)
        self._tops: dict[str, ModuleSpec | None] = {}

    def has(self, path: str) -> bool:
        """Whether a file or folder is the user's own."""
        place = Path(path)
        return (
            any(place.is_relative_to(folder) for folder in self._folders)
            and not any(place.is_relative_to(other) for other in self._others)
            and not _INSTALLED & set(place.parts)
        )

    def loaded(self, apart: Iterable[str]) -> list[LocalModule]:
        """The modules that this process has imported. apart: files that are not looked for.

        Test modules are none of them, unless another one mentions them by name.
        """
        left_out = set(apart)
        found = [module for name in sorted(sys.modules) if (module := self._loaded(name)) is not None]
        found = [module for module in found if module.path not in left_out]
        tests = [module for module in found if _is_test(module.path)]
        chosen = [module for module in found if not _is_test(module.path)]
        texts = [Path(path).read_bytes() for path in (*left_out, *(module.path for module in chosen)) if path]
        while mentioned := [module for module in tests if _mentioned(module.name, texts)]:
            tests = [module for module in tests if module not in mentioned]
            chosen += mentioned
            texts += [Path(module.path).read_bytes() for module in mentioned]
        return chosen

    def _loaded(self, name: str) -> LocalModule | None:
        if name in ("__main__", "__mp_main__"):
            return None
        # Not by getattr: some libraries put objects there which answer any, or load when asked.
        told = vars(sys.modules[name]) if isinstance(sys.modules[name], ModuleType) else {}
        path, places = told.get("__file__"), _folders(told.get("__path__"))
        if isinstance(path, str):
            path = absolute(path)
            return LocalModule(name, path, places) if self.has(path) and Path(path).is_file() else None
        return LocalModule(name, "", places) if places and all(map(self.has, places)) else None

    def find(self, name: str, *, working_first: bool = False) -> list[LocalModule]:
        """A module and the packages around it, found without importing any; empty if it is not the user's own."""
        top, *inner = name.split(".")
        spec = (PathFinder.find_spec(top, [self._working]) if working_first else None) or self._top(top)
        found: list[LocalModule] = []
        parts = [top]
        while spec is not None:
            module = self._of_spec(".".join(parts), spec)
            if module is not None:
                found.append(module)
            if not inner or spec.submodule_search_locations is None:
                break
            parts.append(inner.pop(0))
            spec = PathFinder.find_spec(".".join(parts), list(spec.submodule_search_locations))
        return found

    def _top(self, name: str) -> ModuleSpec | None:
        if name not in self._tops:
            try:
                found = importlib.util.find_spec(name)
            except (ImportError, ValueError):
                # A module of this process without a specification, such as `__main__`.
                found = None
            self._tops[name] = found or PathFinder.find_spec(name, [self._working])
        return self._tops[name]

    def _of_spec(self, name: str, spec: ModuleSpec) -> LocalModule | None:
        places = _folders(spec.submodule_search_locations)
        if spec.has_location and spec.origin:
            path = absolute(spec.origin)
            return LocalModule(name, path, places) if self.has(path) and Path(path).is_file() else None
        return LocalModule(name, "", places) if places and all(map(self.has, places)) else None

    def with_imports(self, modules: Sequence[LocalModule]) -> list[LocalModule]:
        """These modules and what they import, inside functions too, where that is the user's own."""
        known = {module.name: module for module in modules}
        waiting = list(modules)
        while waiting:
            for name in _imports(waiting.pop()):
                for module in self.find(name) if name not in known else ():
                    if module.name not in known:
                        known[module.name] = module
                        waiting.append(module)
        return list(known.values())

    def packages(self, modules: Iterable[LocalModule]) -> list[str]:
        """The files of all modules, but for those of tests, in the packages that these modules belong to."""
        waiting = [Path(folder) for module in modules if module.path for folder in module.folders]
        files: set[str] = set()
        while waiting:
            # Not down into everything: pictures may lie beside code.
            folder = waiting.pop()
            found = {str(path) for path in folder.glob("*.py") if not _is_test(path.name)} - files
            if found:
                files |= found
                waiting += [path.parent for path in folder.glob("*/__init__.py")]
        return sorted(file for file in files if self.has(file))


def _folders(places: Any) -> tuple[str, ...]:
    return tuple(absolute(str(place)) for place in places or ())


def _is_test(path: str) -> bool:
    name = Path(path).name
    return name.endswith("_test.py") or (name.startswith("test_") and name.endswith(".py"))


def _mentioned(name: str, texts: Iterable[bytes]) -> bool:
    pattern = re.compile(rb"\b" + re.escape(name.rpartition(".")[2].encode()) + rb"\b")
    return any(pattern.search(text) for text in texts)


def _imports(module: LocalModule) -> Iterator[str]:
    """The names in import statements of a module's source, full ones; `from a import b` may mean the module `a.b`."""
    if not module.path.endswith(".py"):
        return
    try:
        tree = ast.parse(Path(module.path).read_bytes())
    except (SyntaxError, ValueError):
        # Nobody has imported it yet; who does is told.
        return
    package = module.name if module.folders else module.name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            if node.level > len(parts):
                parts = []
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join((*above, *((node.module,) if node.module else ())))
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
