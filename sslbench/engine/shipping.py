"""The user's project as it travels: the code that conftest.py and names need, found here and loaded once by each worker."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType

from sslbench.engine.local_code import LocalCode, LocalModule, SearchPath, absolute
from sslbench.engine.project_loader import ProjectLoader
from sslbench.errors import EngineError

# It travels with every case.
_MOST = 8 * 2**20


@dataclass(frozen=True)
class _File:
    path: str
    size: int
    sha256: str

    def is_there(self) -> bool:
        """Whether this machine has it, at the same place with the same content."""
        try:
            return hashlib.sha256(Path(self.path).read_bytes()).hexdigest() == self.sha256
        except OSError:
            return False


@dataclass(frozen=True)
class Project:
    """What a process needs of the user's project so that names mean there what they mean here.

    root: pytest's, in words. folder: the working directory. search: the user's own entries of `sys.path`. conftests: name and
    file, in the order of loading. plugins: modules that pytest has loaded as plugins. modules: of the user's, by name. files:
    the source of all of these; content: what they hold, compressed, None where it is too much to travel.
    """

    root: str
    folder: str
    search: SearchPath
    conftests: tuple[LocalModule, ...]
    plugins: tuple[str, ...]
    modules: tuple[LocalModule, ...]
    files: tuple[_File, ...]
    content: bytes | None = field(repr=False)

    @classmethod
    def of(
        cls,
        conftests: Sequence[Path],
        root: Path,
        invocation_dir: Path,
        *,
        names: Iterable[str] = (),
        plugins: Iterable[str] = (),
    ) -> Project:
        """The project of this process, where all of it is loaded already.

        Args:
            conftests: Files that pytest has loaded, in its order.
            root: pytest's root directory.
            invocation_dir: The working directory.
            names: Of backbones and data sets; those of code (`python:MODULE:FACTORY`) bring their module.
            plugins: Names of `-p` and `pytest_plugins`; only those that are modules matter.

        Raises:
            EngineError: For a file that cannot be read any more.
        """
        search = SearchPath.here()
        working, top = absolute(str(invocation_dir)), absolute(str(root))
        code = LocalCode((top, working, *search.front, *search.back), working)
        try:
            found = [_conftest(absolute(str(path))) for path in conftests]
            modules = {module.name: module for module in code.loaded(module.path for module in found)}
            for name in _modules_of(names):
                if name not in modules:
                    modules |= {module.name: module for module in code.find(name, working_first=True)}
            if _size(_paths((*found, *modules.values()))) <= _MOST:
                everything = code.with_imports((*found, *modules.values()))
                modules |= {module.name: module for module in everything if module.name != "conftest"}
            paths = _paths((*found, *modules.values()))
            # What code names in other ways than by import statements: packages travel whole where they can.
            whole = list(dict.fromkeys((*paths, *code.packages(modules.values()))))
            paths = whole if _size(whole) <= _MOST else paths
            contents = {path: Path(path).read_bytes() for path in paths}
        except OSError as error:
            raise EngineError(f"{error.filename}: cannot be read, though it was imported: {error.strerror}") from error
        files = tuple(_File(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in contents.items())
        fits = sum(file.size for file in files) <= _MOST
        project = cls(
            top,
            working,
            search,
            tuple(found),
            tuple(dict.fromkeys(name for name in (*plugins, *_plugins_of_environment()) if name in sys.modules)),
            tuple(_with_parents(modules)),
            files,
            zlib.compress(b"".join(contents.values())) if fits else None,
        )
        # An engine in this very process must not load it again: names would be registered twice.
        _ready[project.digest] = None
        return project

    @cached_property
    def digest(self) -> str:
        """What tells projects apart."""
        told = (self.root, self.folder, self.search, self.conftests, self.plugins, self.modules, self.files)
        return hashlib.sha256(repr(told).encode("utf-8", "surrogatepass")).hexdigest()

    def set_up(self) -> None:
        """Load it into this process, once, from its own place where that is the same here, else from a copy in a private folder.

        Raises EngineError, always the same one, for what cannot be loaded here.
        """
        if self.digest not in _ready:
            _ready[self.digest] = self._set_up()
        if (problem := _ready[self.digest]) is not None:
            raise EngineError(problem)

    def _set_up(self) -> str | None:
        if _loaded_here:
            return f"{platform.node()}: this process has loaded another project already; each project wants processes of its own"
        _loaded_here.append(self.digest)
        try:
            missing = [file for file in self.files if not file.is_there()]
            loader = ProjectLoader(self, copied=bool(missing))
            if missing:
                if self.content is None:
                    return self._too_large(missing)
                loader.write(self.content)
            loader.enter()
        except OSError as error:
            return f"the project {self.root} cannot be set up on {platform.node()}: {error}"
        return loader.load()

    def _too_large(self, missing: Sequence[_File]) -> str:
        largest = sorted(self.files, key=lambda file: -file.size)[:3]
        told = ", ".join(f"{file.path} ({file.size / 2**20:.1f} MiB)" for file in largest)
        size = sum(file.size for file in self.files) / 2**20
        return (
            f"{platform.node()} has not the same {missing[0].path} ({len(missing)} of {len(self.files)} files of the project "
            f"differ or are missing), and {size:.1f} MiB of code are too much to travel (at most "
            f"{_MOST // 2**20} MiB); the largest: {told}. Put it on a shared disk or install it as a package on the workers"
        )


# Projects of this process by digest: set up, or made here, or why they cannot be.
_ready: dict[str, str | None] = {}
_loaded_here: list[str] = []


def _paths(modules: Iterable[LocalModule]) -> list[str]:
    return list(dict.fromkeys(module.path for module in modules if module.path))


def _size(paths: Iterable[str]) -> int:
    return sum(Path(path).stat().st_size for path in paths)


def _conftest(path: str) -> LocalModule:
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and vars(module).get("__file__") == path:
            return LocalModule(name, path)
    # pytest forgets one that lies in no package when it loads the next.
    folder, parts = Path(path).parent, ["conftest"]
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return LocalModule(".".join(parts), path)


def _plugins_of_environment() -> list[str]:
    return [name.strip() for name in os.environ.get("PYTEST_PLUGINS", "").split(",")]


def _modules_of(names: Iterable[str]) -> list[str]:
    bare = [name.partition("?")[0].split(":") for name in names if name.startswith("python:")]
    return list(dict.fromkeys(parts[1] for parts in bare if len(parts) > 1 and parts[1]))


def _with_parents(modules: dict[str, LocalModule]) -> Iterable[LocalModule]:
    """The modules, and packages around them that exist in name only, as pytest makes some for files of no package."""
    for name, module in modules.items():
        yield module
        while name := name.rpartition(".")[0]:
            if name not in modules and not hasattr(sys.modules.get(name), "__path__"):
                yield LocalModule(name)
