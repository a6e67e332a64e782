"""Labelled photographs in memory, from a zip file or a folder with `train/CLASS/` and `val/CLASS/`."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sslbench.datasets.decoding import EXTENSIONS, to_rgb
from sslbench.errors import DataError, UnclearPixelsError

SIZE = 64


@dataclass(frozen=True)
class Photographs:
    """One split: images uint8 (N, 3, 64, 64), targets int64 (N,)."""

    images: Tensor
    targets: Tensor


def load(path: Path) -> dict[str, Photographs]:
    """The splits `train` and `val`, in the order of class and file names.

    Raises DataError for a missing path, a split without images, and pictures that are not 64x64 or cannot be decoded.
    """
    if not path.exists():
        raise DataError(f"there is no file or folder {path.absolute()}; expected train/CLASS/ and val/CLASS/ in it")
    found = _members(path)
    classes = sorted({place.parts[1] for place in found if place.parts[0] == "train"})
    splits = {}
    for split in ("train", "val"):
        places = sorted(place for place in found if place.parts[0] == split)
        if not places:
            raise DataError(f"{path}: no image below {split}/CLASS/")
        strange = sorted({place.parts[1] for place in places} - set(classes))
        if strange:
            raise DataError(f"{path}: {split} has classes that train lacks: {', '.join(strange[:5])}")
        images = np.empty((len(places), SIZE, SIZE, 3), dtype=np.uint8)
        for row, (place, content) in enumerate(_contents(path, places)):
            images[row] = _decode(content, f"{path}: {place}")
        targets = torch.tensor([classes.index(place.parts[1]) for place in places])
        splits[split] = Photographs(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), targets)
    return splits


def _decode(content: bytes, where: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content)) as image:
            size = image.size
            pixels = np.asarray(to_rgb(image)) if size == (SIZE, SIZE) else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, UnclearPixelsError) as error:
        raise DataError(f"{where} cannot be decoded ({error}); replace or remove it") from error
    if pixels is None:
        raise DataError(f"{where} has {size} pixels; expected {(SIZE, SIZE)}")
    return pixels


def _members(path: Path) -> list[PurePosixPath]:
    if path.is_dir():
        names = [file.relative_to(path).as_posix() for file in path.rglob("*")]
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile as error:
            raise DataError(f"{path}: not a zip file ({error})") from error
    places = map(PurePosixPath, names)
    return [place for place in places if len(place.parts) == 3 and place.suffix.lower() in EXTENSIONS]


def _contents(path: Path, places: list[PurePosixPath]) -> Iterator[tuple[PurePosixPath, bytes]]:
    if path.is_dir():
        yield from ((place, (path / place).read_bytes()) for place in places)
        return
    with zipfile.ZipFile(path) as archive:
        for place in places:
            try:
                content = archive.read(place.as_posix())
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise DataError(f"{path}: {place} cannot be read ({error}); fetch the archive again") from error
            yield place, content
