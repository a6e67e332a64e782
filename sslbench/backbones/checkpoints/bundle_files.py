"""Where the parts of a tensor bundle are: files with one prefix, alone in a folder, or inside a zip."""

from __future__ import annotations

import glob
import mmap
import zipfile
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from sslbench.backbones.checkpoints.tensor_bundle import Parts, TensorBundle
from sslbench.errors import BackboneError

# A ResNet-50 with its momentum and its moving average is below half of it.
ZIP_LIMIT = 2**30


def bundle_prefix(path: Path) -> Path | None:
    """The prefix of the bundle that `path` (prefix, index, or the folder that holds one) stands for; None if none."""
    if path.is_dir():
        chosen = _choose((found.relative_to(path).as_posix() for found in path.rglob("*.index")), path)
        return None if chosen is None else path / chosen
    if path.suffix == ".index" and path.is_file():
        return path.with_suffix("")
    return path if path.with_name(f"{path.name}.index").is_file() else None


def bundle_paths(prefix: Path) -> list[Path]:
    """The files of a bundle: index and data files, sorted."""
    return [
        prefix.with_name(f"{prefix.name}.index"),
        *sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-?????-of-?????")),
    ]


def open_bundle(path: Path, where: str) -> TensorBundle | None:
    """The bundle behind a prefix, an index, a folder or a zip; None if `path` is none of them."""
    if (prefix := bundle_prefix(path)) is not None:
        return TensorBundle(_file_parts(prefix, where), where)
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            member = _choose((name for name in archive.namelist() if name.endswith(".index")), path)
            return None if member is None else TensorBundle(_zip_parts(archive, member, where), where)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise BackboneError(f"{where}: damaged zip archive ({error}); fetch it again") from error


def _choose(names: Iterable[str], place: Path) -> str | None:
    # SimCLR's archive holds the checkpoint beside a hub module, which has a bundle of its own.
    indices = sorted(names)
    if len(indices) > 1:
        indices = [name for name in indices if name.rpartition("/")[2].startswith("model.ckpt-")] or indices
    if len(indices) > 1:
        raise BackboneError(
            f"{place}: expected one checkpoint, found {', '.join(indices)}; unpack it and name one of them"
        )
    return indices[0].removesuffix(".index") if indices else None


def _file_parts(prefix: Path, where: str) -> Parts:
    @cache
    def part(suffix: str) -> memoryview:
        path = prefix.with_name(prefix.name + suffix)
        try:
            with path.open("rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            raise BackboneError(f"{where}: cannot read {path.name}, a part of the tensor bundle: {error}") from error

    return part


def _zip_parts(archive: zipfile.ZipFile, prefix: str, where: str) -> Parts:
    # Every part is unpacked here, while the archive is open.
    members = [info for info in archive.infolist() if info.filename.startswith((f"{prefix}.index", f"{prefix}.data-"))]
    if sum(info.file_size for info in members) > ZIP_LIMIT:
        raise BackboneError(
            f"{where}: the tensor bundle in the zip is larger than {ZIP_LIMIT >> 20} MiB; unpack it by hand"
        )
    content = {info.filename.removeprefix(prefix): memoryview(archive.read(info)) for info in members}

    def part(suffix: str) -> memoryview:
        if suffix not in content:
            raise BackboneError(f"{where}: the zip has no {prefix}{suffix}, a part of the tensor bundle")
        return content[suffix]

    return part
