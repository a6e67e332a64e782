"""The user's project on a worker: its files are there, its modules are found by their names, plugins and conftests are loaded."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys
import traceback
import zlib
from collections.abc import Iterable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sslbench.engine.local_code import LocalModule
from sslbench.engine.private_folder import private_folder

if TYPE_CHECKING:
    from sslbench.engine.shipping import Project


class ProjectLoader:
    """The project where it is on this machine: in place, or below a private folder in the same layout.

    copied: whether it is written there, since files differ or are missing here.
    """

    def __init__(self, project: Project, *, copied: bool) -> None:
        self.project = project
        self._private = private_folder("sslbench-project-") if copied or not Path(project.folder).is_dir() else None
        self._copied = copied

    def _at(self, path: str) -> str:
        if not path or not self._copied or self._private is None:
            return path
        return str(self._private / Path(path).relative_to(Path(path).anchor))

    def _named(self, text: str) -> str:
        """Text with the user's paths instead of the copies'."""
        return text.replace(str(self._private), "") if self._private is not None else text

    def write(self, content: bytes) -> None:
        """Write the files; what else lies beside the originals on this machine is linked to, since code reads data beside it."""
        data, start = zlib.decompress(content), 0
        for file in self.project.files:
            path = Path(self._at(file.path))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[start : start + file.size])
            start += file.size
        tops = [Path(top) for top in self._folders()]
        for folder in {parent for file in self.project.files for parent in Path(file.path).parents}:
            if any(folder.is_relative_to(top) for top in tops) and folder.is_dir():
                self._link(folder)
        importlib.invalidate_caches()

    def _folders(self) -> tuple[str, ...]:
        search = self.project.search
        return (self.project.root, self.project.folder, *search.front, *search.back)

    def _link(self, folder: Path) -> None:
        copy = Path(self._at(str(folder)))
        try:
            entries = list(folder.iterdir())
        except PermissionError:
            # Of another user of this machine, who happens to have that path.
            return
        there = {path.name for path in copy.iterdir()} | {"__pycache__", "sslbench"}
        for entry in entries:
            if entry.name not in there:
                (copy / entry.name).symlink_to(entry)

    def enter(self) -> None:
        """Make its modules importable, and its working directory the process's."""
        folder = Path(self.project.folder)
        if not folder.is_dir():
            assert self._private is not None
            folder = self._private / folder.relative_to(folder.anchor)
            folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        front, back = (self._entries(entries) for entries in (self.project.search.front, self.project.search.back))
        rest = [entry for entry in sys.path if entry not in front]
        sys.path[:] = [*front, *rest, *(entry for entry in back if entry not in rest)]
        modules = [self._placed(module) for module in (*self.project.modules, *self.project.conftests)]
        finder = _Finder({module.name: module for module in modules if module.name != "conftest"})
        for module in modules:
            if module.path and getattr(sys.modules.get(module.name), "__file__", module.path) != module.path:
                # Something else of that name, which the worker's own machinery has loaded.
                del sys.modules[module.name]
        sys.meta_path.insert(0, finder)

    def _entries(self, entries: Iterable[str]) -> list[str]:
        placed = [self._at(entry) if Path(self._at(entry)).exists() else entry for entry in entries]
        return [entry for entry in placed if Path(entry).exists()]

    def _placed(self, module: LocalModule) -> LocalModule:
        return LocalModule(module.name, self._at(module.path), tuple(map(self._at, module.folders)))

    def load(self) -> str | None:
        """Load plugins and conftests as pytest does; answers with what went wrong."""
        last = self.project.root
        try:
            self._load_plugins(self.project.plugins)
            for conftest in self.project.conftests:
                last = conftest.path
                self._load_plugins(_plugins_of(_load_conftest(self._placed(conftest))))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 whatever the user's code raises, pytest.skip's BaseException among them
            return self._named(self._load_problem(error, last))
        return None

    def _load_plugins(self, names: Iterable[str]) -> None:
        own = {module.name for module in self.project.modules}
        for name in names:
            if name in sys.modules:
                continue
            try:
                module = importlib.import_module(name)
            except ModuleNotFoundError as error:
                # An installed plugin of pytest registers nothing as a rule; if it does, the missing name is told.
                if name in own or error.name != name.partition(".")[0]:
                    raise
            else:
                self._load_plugins(_plugins_of(module))

    def _load_problem(self, error: BaseException, last: str) -> str:
        host = platform.node()
        own = {self._at(file.path) for file in self.project.files}
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else last
        where = f"{where} cannot be loaded on {host}"
        if isinstance(error, ModuleNotFoundError):
            return (
                f"{where}: there is no module {error.name!r}. Install the package that has it on {host}; a module of your "
                "own travels if an import statement names it and it lies below the root directory or on sys.path where pytest "
                "was started"
            )
        if isinstance(error, FileNotFoundError):
            return (
                f"{where}: there is no file {error.filename}. Code travels, other files do not: put the project on a shared "
                f"disk, or the file at the same path on {host}"
            )
        return f"{where}, though it could be where pytest was started: {type(error).__name__}: {error}"


def _load_conftest(conftest: LocalModule) -> ModuleType:
    if "." in conftest.name:
        return importlib.import_module(conftest.name)
    # Those that lie in no package all have one name, and each is known by it while it is loaded, as in pytest.
    spec = importlib.util.spec_from_file_location(conftest.name, conftest.path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[conftest.name] = module
    spec.loader.exec_module(module)
    return module


def _plugins_of(module: ModuleType) -> list[str]:
    named = vars(module).get("pytest_plugins", ())
    return [named] if isinstance(named, str) else list(named)


class _Finder(MetaPathFinder):
    """Finds modules by their names where the session had them, in whichever way they were imported there."""

    def __init__(self, modules: dict[str, LocalModule]) -> None:
        self._modules = modules

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The specification of a module of the project; None for others."""
        module = self._modules.get(fullname)
        if module is None:
            return None
        if module.path:
            return importlib.util.spec_from_file_location(
                fullname, module.path, submodule_search_locations=list(module.folders) or None
            )
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = list(module.folders)
        return spec
