"""The feature cache: content-keyed safetensors files, written atomically, locked and checksummed."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from sslbench.errors import CacheError, CacheWarning
from sslbench.files import replacing

FORMAT = "sslbench-features-1"

Arrays = dict[str, npt.NDArray[Any]]


class DamagedFileError(CacheError):
    """A cache file that is truncated, altered or of another format."""


@dataclass(frozen=True)
class CacheEntry:
    """One file as `sslbench cache ls` shows it.

    label: who wrote it, for people; recipe: what its key was made from.
    """

    path: Path
    label: str
    bytes: int
    modified: float
    recipe: Mapping[str, Any]


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
    """Arrays by recipe below `root/features`.

    A damaged file is reported with a CacheWarning and computed again. Two processes that want the same recipe: one
    computes, the other waits and reads.
    """

    def __init__(self, root: Path) -> None:
        self.root = root / "features"
        self.pictures = self.root / "pictures"

    def check_writable(self) -> None:
        """Raise CacheError before anything is computed when the directory cannot be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise CacheError(
                f"the cache directory {self.root} cannot be written: {error}. Make it writable, or choose another with "
                "--sslbench-cache=DIR or SSLBENCH_CACHE"
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
            return found, True
        self.check_writable()
        path.parent.mkdir(exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if (found := self._read_if_sound(path)) is not None:
                return found, True
            arrays = compute()
            try:
                _write(path, arrays, recipe, label)
            except OSError as error:
                warnings.warn(
                    f"could not store features in {self.root}: {error}. This run goes on with them in memory; free space "
                    "(sslbench cache prune) or choose another directory with --sslbench-cache",
                    CacheWarning,
                    stacklevel=2,
                )
            return arrays, False

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

    def leftovers(self) -> list[Path]:
        """Temporary files of writers that were interrupted."""
        return sorted(self.root.glob("*/*.tmp"))

    def entries(self) -> Iterator[CacheEntry]:
        """What is in the cache; a file whose header cannot be read has an empty recipe."""
        for path in self.files():
            stat = path.stat()
            try:
                metadata = _header(path)
                label, recipe = metadata.get("label", ""), json.loads(metadata["recipe"])
            except (DamagedFileError, KeyError, ValueError):
                label, recipe = "", {}
            yield CacheEntry(path, label, stat.st_size, stat.st_mtime, recipe)

    def prune(self, *, everything: bool = False, older_than_days: float | None = None) -> list[Path]:
        """Remove damaged files and interrupted writers' leftovers; on request old features and pictures, or all. Returns them.

        A leftover younger than an hour may belong to a writer at work and stays.
        """
        now = time.time()
        doomed = [path for path in self.leftovers() if everything or now - path.stat().st_mtime > 3600]
        for path in [*self.files(), *sorted(self.pictures.glob("*.npy"))]:
            if everything or (older_than_days is not None and now - path.stat().st_mtime > older_than_days * 86400):
                doomed.append(path)
                continue
            if path.parent == self.pictures:
                # Checked picture by picture when they are read.
                continue
            try:
                read(path)
            except DamagedFileError:
                doomed.append(path)
        for path in doomed:
            path.unlink(missing_ok=True)
        return doomed

    def verify(self) -> list[str]:
        """One message for each damaged file."""
        problems = []
        for path in self.files():
            try:
                read(path)
            except DamagedFileError as error:
                problems.append(str(error))
        return problems


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
