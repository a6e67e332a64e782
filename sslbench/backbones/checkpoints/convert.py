"""From a checkpoint as it was published to a verified safetensors file in the cache, once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from sslbench.backbones.checkpoints.catalogue import checkpoint_spec
from sslbench.backbones.checkpoints.converted import (
    Converted,
    DamagedConversionError,
    converted_name,
    read_converted,
    write_converted,
)
from sslbench.backbones.checkpoints.declaration import CheckpointSpec
from sslbench.backbones.checkpoints.first_use import FirstUse, check_first_use, read_first_use, write_first_use
from sslbench.backbones.checkpoints.source_file import SourceFile
from sslbench.errors import BackboneError, CacheError, CacheWarning

if TYPE_CHECKING:
    from torch import Tensor

Loaded = tuple["dict[str, Tensor]", Converted]


def convert(path: Path, name: str, *, out_dir: Path) -> Converted:
    """Convert a published checkpoint into `out_dir`, unless that was done before.

    path: the file; for a tensor bundle also its index, prefix or folder. The first file of a name is pinned in `out_dir`.
    Raises UnknownNameError for a name that is not declared, BackboneError for a file that is not the one declared or pinned,
    CacheError when `out_dir` cannot be written; then nothing of the conversion is left there.
    """
    return load_converted(path, checkpoint_spec(name), out_dir=out_dir)[1]


def load_converted(path: Path, spec: CheckpointSpec, *, out_dir: Path) -> Loaded:
    """The tensors of a published checkpoint, converted on first use. Raises as `convert` does."""
    source = SourceFile.at(path)
    try:
        pin = read_first_use(out_dir, spec.name)
        if pin is not None and (pin.path, pin.stamp) == (str(source.path), source.stamp):
            found = _read_if_sound(out_dir / pin.converted, pin.sha256)
        else:
            found = _check(source, spec, out_dir)
        if found is not None:
            return found
        with _locked(spec, out_dir):
            return _convert(source, spec, out_dir)
    except OSError as error:
        raise BackboneError(f"{spec.name}: cannot read {source.path}: {error}") from error


def load_pinned(spec: CheckpointSpec, *, out_dir: Path) -> Loaded | None:
    """The tensors of the file that was used before, which need not be there any more; None if none was, or if the
    converted file is damaged and the original gone.
    """
    pin = read_first_use(out_dir, spec.name)
    if pin is None:
        return None
    found = _read_if_sound(out_dir / pin.converted, pin.sha256)
    if found is None and Path(pin.path).exists():
        return load_converted(Path(pin.path), spec, out_dir=out_dir)
    return found


def _check(source: SourceFile, spec: CheckpointSpec, out_dir: Path) -> Loaded | None:
    """Refuse a file that must not be used for the name; the tensors if it was converted before."""
    stamp = source.stamp
    source.check_kind()
    source.check_published(spec)
    pin = read_first_use(out_dir, spec.name)
    if pin is None:
        return None
    check_first_use(out_dir, pin, source.sha256, source.path)
    found = _read_if_sound(out_dir / pin.converted, pin.sha256)
    # Only to spare the next load the reading; a cache that several people share may be read-only for this one.
    with suppress(OSError):
        write_first_use(out_dir, replace(pin, path=str(source.path), stamp=stamp))
    return found


def _convert(source: SourceFile, spec: CheckpointSpec, out_dir: Path) -> Loaded:
    stamp = source.stamp
    # Another process may have converted it while this one waited.
    if (found := _check(source, spec, out_dir)) is not None:
        return found
    target = out_dir / converted_name(spec.name, source.sha256)
    weights = spec.read(source.path)
    with _written(spec, out_dir):
        write_converted(
            target,
            weights.tensors,
            name=spec.name,
            source=source.path.name,
            sha256=source.sha256,
            licence=spec.licence,
            dropped=weights.dropped,
            published=source.check_published(spec),
        )
    # What was written is what is used, so that a disk that lies is noticed now.
    found = read_converted(target)
    with _written(spec, out_dir):
        write_first_use(out_dir, FirstUse(spec.name, source.sha256, target.name, str(source.path), stamp))
    return found


def _read_if_sound(path: Path, sha256: str) -> Loaded | None:
    if not path.exists():
        return None
    try:
        tensors, converted = read_converted(path)
        if converted.sha256 != sha256:
            raise DamagedConversionError(f"{path} was made from another file than its name says")
        return tensors, converted
    except DamagedConversionError as error:
        warnings.warn(f"{error}; converting the checkpoint again", CacheWarning, stacklevel=4)
        return None


@contextmanager
def _locked(spec: CheckpointSpec, out_dir: Path) -> Iterator[None]:
    lock = FileLock(out_dir / f"{spec.name}.lock")
    with _written(spec, out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _written(spec: CheckpointSpec, out_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"{spec.name}: could not store the converted checkpoint in {out_dir}: {error}. Nothing was left there; free "
            "about 100 MB, or choose another cache with SSLBENCH_CACHE or --sslbench-cache"
        ) from error
