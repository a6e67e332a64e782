"""The feature cache: content-keyed safetensors files, written atomically, locked and checksummed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from sslbench.errors import CacheError, CacheWarning
from sslbench.features import original_file, picture_file
from sslbench.features.cache_locks import is_locked, lock_of, remove_lock
from sslbench.features.streamed import Rows, RowWriter, StorageError, row_writer
from sslbench.files import replacing
from sslbench.store.shared import SharedFiles, shared_files

FORMAT = "sslbench-features-1"

Arrays = dict[str, npt.NDArray[Any]]


class DamagedFileError(CacheError):
    """A cache file that is truncated, altered or of another format."""


@dataclass(frozen=True)
class CacheEntry:
    """One file as `sslbench cache ls` shows it.

    label: who wrote it, for people, or what pictures it keeps; recipe: what its key was made from, empty for pictures. A
    damaged file has neither.
    """

    path: Path
    label: str
    bytes: int
    modified: float
    recipe: Mapping[str, Any]


class CacheSize(NamedTuple):
    """Bytes of features, kept pictures, interrupted writers' leftovers, and converted checkpoints beside them."""

    features: int
    pictures: int
    leftovers: int
    checkpoints: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


def recipe_key(recipe: Mapping[str, Any]) -> str:
    """The file name of a recipe: a digest of its canonical JSON."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]


def _checksum(arrays: Arrays) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        digest.update(f"|{name}|{arrays[name].dtype}|{arrays[name].shape}|".encode())
        # A view of the bytes: features of a large dataset must not stand in memory twice.
        digest.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


class FeatureCache:
    """Arrays by recipe below `root/features`, and beside them the pictures that `Pictures` keeps.

    A damaged file is reported with a CacheWarning and computed again. Two processes that want the same recipe: one
    computes, the other waits and reads.

    shared: URL of a store. What is not here is fetched from it and checked like a file that was here; what was computed is put
    there. Two machines that want the same recipe: as two processes, as long as both reach the store.
    """

    def __init__(self, root: Path, shared: str = "") -> None:
        self.root = root / "features"
        self._shared: SharedFiles | None = shared_files(shared) if shared else None
        self.pictures = self.root / "pictures"
        self.checkpoints = root / "checkpoints"

    def check_writable(self) -> None:
        """Raise CacheError before anything is computed when the directory cannot be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise CacheError(
                f"the cache directory {self.root} cannot be written: {error}. Make it writable, or choose another with "
                "--sslbench-cache=DIR (of commands: --cache DIR) or SSLBENCH_CACHE"
            ) from error

    def path(self, recipe: Mapping[str, Any]) -> Path:
        """Where the features of a recipe are or will be."""
        key = recipe_key(recipe)
        return self.root / key[:2] / f"{key}.safetensors"

    def get(self, recipe: Mapping[str, Any], compute: Callable[[], Arrays], label: str = "") -> tuple[Arrays, bool]:
        """The arrays of a recipe and whether they came from disk; computed and stored when absent or damaged.

        When the disk is full the computed arrays are returned all the same, with a CacheWarning.
        """
        path = self.path(recipe)
        if (found := self._read_if_sound(path)) is not None:
            self._share(path)
            return found, True
        self.check_writable()
        path.parent.mkdir(exist_ok=True)
        with FileLock(path.with_suffix(".lock")), self._elsewhere(path) as found:
            if found is not None:
                return found, True
            arrays = compute()
            try:
                _write(path, arrays, recipe, label)
                self._share(path, replace=True)
            except OSError as error:
                warnings.warn(
                    f"could not store features in {self.root}: {error}. This run goes on with them in memory; free space "
                    "(sslbench cache prune) or choose another directory with --sslbench-cache",
                    CacheWarning,
                    stacklevel=2,
                )
            return arrays, False

    def get_rows(
        self, recipe: Mapping[str, Any], rows: Rows, compute: Callable[[RowWriter], None], label: str = ""
    ) -> Arrays:
        """`maps` (N, width) and `present` uint8 (N,) of a recipe, mapped from the file; computed when absent or damaged.

        compute: appends the rows to what it is given. Raises CacheError where they cannot be stored: they need not fit in memory.
        """
        path = self.path(recipe)
        if (found := self._read_if_sound(path)) is not None:
            self._share(path)
            return found
        self.check_writable()
        path.parent.mkdir(exist_ok=True)
        with FileLock(path.with_suffix(".lock")), self._elsewhere(path) as found:
            if found is not None:
                return found
            metadata = {"format": FORMAT, "label": label, "recipe": json.dumps(recipe, sort_keys=True)}
            try:
                with row_writer(path, rows, metadata) as writer:
                    compute(writer)
            except StorageError as error:
                size = rows.count * rows.width * np.dtype(rows.dtype).itemsize
                raise CacheError(
                    f"could not store {size / 2**30:.1f} GiB of feature maps in {self.root}: {error}. Free space "
                    "(sslbench cache prune) or choose another directory with --sslbench-cache"
                ) from error
            self._share(path, replace=True)
            return read(path)[0]

    @contextlib.contextmanager
    def _elsewhere(self, path: Path) -> Iterator[Arrays | None]:
        """What another process has computed meanwhile, or another machine, which is waited for; None to compute it now."""
        found = self._read_if_sound(path)
        if found is None and self._shared is not None:
            found = self._fetched(path)
        if found is not None or self._shared is None:
            yield found
        else:
            with self._shared.turn(path.stem, lambda: self._fetched(path)) as found:
                yield found

    def _fetched(self, path: Path) -> Arrays | None:
        assert self._shared is not None
        name = self._name(path)
        if self._shared.is_rejected(name) or not self._shared.fetch(name, path):
            return None
        try:
            return read(path)[0]
        except DamagedFileError as error:
            path.unlink(missing_ok=True)
            self._shared.reject(name)
            warnings.warn(
                f"{error}; so it came from {self._shared.store.url}, where it is replaced. Computing it again",
                CacheWarning,
                stacklevel=6,
            )
            return None

    def _share(self, path: Path, *, replace: bool = False) -> None:
        if self._shared is not None:
            self._shared.share(path, self._name(path), replace=replace)

    def _name(self, path: Path) -> str:
        """In the store."""
        return f"features/{path.relative_to(self.root).as_posix()}"

    def _read_if_sound(self, path: Path) -> Arrays | None:
        if not path.exists():
            return None
        try:
            return read(path)[0]
        except DamagedFileError as error:
            warnings.warn(f"{error}; computing it again", CacheWarning, stacklevel=3)
            return None

    def files(self) -> Iterator[Path]:
        """Every feature file, sorted by path."""
        return iter(sorted(self.root.glob("*/*.safetensors")))

    def picture_files(self) -> Iterator[Path]:
        """Every file of kept pictures, sorted by path."""
        return iter(sorted(kept_files(self.pictures)))

    def leftovers(self) -> list[Path]:
        """Temporary files of writers that were interrupted, or are at work."""
        return sorted(self.root.glob("*/*.tmp"))

    def size(self) -> CacheSize:
        """How much is stored, by kind."""
        checkpoints = (path for path in self.checkpoints.rglob("*") if path.is_file())
        return CacheSize(*map(_bytes, (self.files(), self.picture_files(), self.leftovers(), checkpoints)))

    def entries(self) -> Iterator[CacheEntry]:
        """The features in the cache; a file whose header cannot be read has an empty recipe."""
        for path in self.files():
            if (stat := _stat(path)) is None:
                continue
            try:
                metadata = _header(path)
                label, recipe = metadata.get("label", ""), json.loads(metadata["recipe"])
            except (DamagedFileError, KeyError, ValueError):
                label, recipe = "", {}
            yield CacheEntry(path, label, stat.st_size, stat.st_mtime, recipe)

    def picture_entries(self) -> Iterator[CacheEntry]:
        """The kept pictures in the cache; a file whose header cannot be read has an empty label."""
        for path in self.picture_files():
            if (stat := _stat(path)) is None:
                continue
            try:
                label = _what_is_kept(path)
            except (OSError, ValueError, EOFError):
                label = ""
            yield CacheEntry(path, label, stat.st_size, stat.st_mtime, {})

    def prune(self, *, everything: bool = False, older_than_days: float | None = None) -> list[Path]:
        """Remove damaged files and interrupted writers' leftovers; on request old features and pictures, or all of them.

        Returns what was removed, without the lock files that go with it. What a process at work has locked stays: its lock
        and what it is writing. So does a leftover younger than an hour without `everything`, as locks do not reach every
        network disk. A picture file's age counts from its last use. Converted checkpoints are no part of this.
        """
        now = time.time()

        def older(path: Path, seconds: float) -> bool:
            return (stat := _stat(path)) is not None and now - stat.st_mtime > seconds

        doomed = [
            path for path in self.leftovers() if not is_locked(lock_of(path)) and (everything or older(path, 3600))
        ]
        for path in (*self.files(), *self.picture_files()):
            old = older_than_days is not None and older(path, older_than_days * 86400)
            if everything or old or self._problem(path) is not None:
                doomed.append(path)
        for path in doomed:
            path.unlink(missing_ok=True)
        kept = {lock_of(path) for path in (*self.files(), *self.picture_files())}
        for lock in sorted(self.root.glob("*/*.lock")):
            if lock not in kept:
                remove_lock(lock)
        return doomed

    def verify(self) -> list[str]:
        """One message for each damaged file of features or pictures."""
        problems = (self._problem(path) for path in (*self.files(), *self.picture_files()))
        return [problem for problem in problems if problem is not None]

    def _problem(self, path: Path) -> str | None:
        if path.parent == self.pictures:
            kind = original_file if path.suffix == original_file.SUFFIX else picture_file
            why = kind.problem(path)
            # Another process may have made room meanwhile.
            return f"damaged picture file {path}: {why}" if why is not None and path.exists() else None
        try:
            read(path)
        except DamagedFileError as error:
            return str(error) if path.exists() else None
        return None


def kept_files(root: Path) -> list[Path]:
    """Files of kept pictures: those at an input size, and those at their own."""
    return [path for suffix in (".npy", original_file.SUFFIX) for path in root.glob(f"*{suffix}")]


def _what_is_kept(path: Path) -> str:
    if path.suffix == original_file.SUFFIX:
        return f"{len(original_file.open_originals_file(path).index)} pictures at their own size"
    records = picture_file.open_records(path)
    height, width, _ = records.dtype["pixels"].shape
    return f"{len(records)} pictures of {height}x{width}"


def _stat(path: Path) -> os.stat_result | None:
    """None for a file that another process has removed since it was listed."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _bytes(paths: Iterable[Path]) -> int:
    return sum(stat.st_size for path in paths if (stat := _stat(path)) is not None)


def _header(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(f"damaged cache file {path}: {error}") from error
    if metadata.get("format") != FORMAT:
        raise DamagedFileError(f"damaged cache file {path}: expected format {FORMAT}, got {metadata.get('format')}")
    return metadata


def read(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Arrays, mapped from the file, and its recipe; DamagedFileError for a truncated file or a wrong checksum."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    metadata = _header(path)
    try:
        # Through torch, whose reader maps the file where NumPy's copies it.
        arrays: Arrays = {name: tensor.numpy() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(f"damaged cache file {path}: {error}") from error
    if _checksum(arrays) != metadata.get("checksum"):
        raise DamagedFileError(f"damaged cache file {path}: its checksum does not match its content")
    try:
        recipe = json.loads(metadata["recipe"])
    except (KeyError, ValueError) as error:
        raise DamagedFileError(f"damaged cache file {path}: its recipe cannot be read") from error
    if recipe_key(recipe) != path.stem:
        raise DamagedFileError(f"damaged cache file {path}: its name does not belong to its recipe")
    return arrays, recipe


def _write(path: Path, arrays: Arrays, recipe: Mapping[str, Any], label: str) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    metadata = {
        "format": FORMAT,
        "label": label,
        "recipe": json.dumps(recipe, sort_keys=True),
        "checksum": _checksum(arrays),
    }
    with replacing(path) as temporary:
        try:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary, metadata)
        except SafetensorError as error:
            # How this library tells of a full disk.
            raise OSError(str(error)) from error
