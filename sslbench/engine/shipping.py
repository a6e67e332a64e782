"""The user's project on a worker: the code that conftest.py and names need is there, and has been loaded, before a case runs."""

from __future__ import annotations

import atexit
import hashlib
import importlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import traceback
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from filelock import FileLock, Timeout

from sslbench.engine.local_code import LocalCode, LocalModule, SearchPath, absolute
from sslbench.errors import EngineError

# It travels with every case.
_MOST = 8 * 2**20
_PREFIX = "sslbench-project-"


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
            place = _Place(self, copied=bool(missing))
            if missing:
                if self.content is None:
                    return self._too_large(missing)
                place.write(self.content)
            place.enter()
        except OSError as error:
            return f"the project {self.root} cannot be set up on {platform.node()}: {error}"
        return place.load()

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


class _Place:
    """Where the project is on this machine: in place, or below a private folder in the same layout."""

    def __init__(self, project: Project, *, copied: bool) -> None:
        self.project = project
        self._private = _private_folder() if copied or not Path(project.folder).is_dir() else None
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


def _private_folder() -> Path:
    """A folder of this process alone, removed when it ends; those that killed processes have left are removed now."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _remove_unless_used(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = FileLock(folder / "in-use")
    lock.acquire()
    _locks.append(lock)
    owner = os.getpid()
    atexit.register(_at_end, owner, lambda: shutil.rmtree(folder, ignore_errors=True))
    return folder


# Held as long as the process lives.
_locks: list[FileLock] = []


def _at_end(owner: int, work: Callable[[], None]) -> None:
    # A forked child has the parent's duties in its list.
    if os.getpid() == owner:
        work()


def _remove_unless_used(folder: Path) -> None:
    try:
        if folder.lstat().st_uid != os.getuid() or not (folder / "in-use").is_file():
            return
        with FileLock(folder / "in-use", timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError):
        return
