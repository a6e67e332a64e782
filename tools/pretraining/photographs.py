"""Labelled photographs in memory, from a zip file or a folder with `train/CLASS/` and `val/CLASS/`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sslbench.datasets.images import EXTENSIONS, to_rgb
from sslbench.errors import DataError

SIZE = 64


@dataclass(frozen=True)
class Photographs:
    """One split: images uint8 (N, 3, 64, 64), targets int64 (N,)."""

    images: Tensor
    targets: Tensor


def load(path: Path) -> dict[str, Photographs]:
    """The splits `train` and `val`, in the order of class and file names.

    Raises DataError for a missing path, a split without images, and pictures that are not 64x64.
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
            with Image.open(io.BytesIO(content)) as image:
                if image.size != (SIZE, SIZE):
                    raise DataError(f"{path}: {place} has {image.size} pixels; expected {(SIZE, SIZE)}")
                images[row] = np.asarray(to_rgb(image))
        targets = torch.tensor([classes.index(place.parts[1]) for place in places])
        splits[split] = Photographs(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), targets)
    return splits


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
        yield from ((place, archive.read(place.as_posix())) for place in places)
