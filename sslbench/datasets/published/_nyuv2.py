"""What is common to the questions asked of NYU Depth v2: its labelled pictures, its official split, and validation by scenes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslbench.datasets.formats import AGAIN, mat_arrays
from sslbench.datasets.images import Images
from sslbench.datasets.published._file_maps import sizes_digest
from sslbench.datasets.published._hdf5 import checked, opened
from sslbench.datasets.published._kept import kept_array
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found
from sslbench.datasets.published.opening import Draw, Listing
from sslbench.datasets.targets import Targets
from sslbench.errors import DataError
from sslbench.sources import Source

FOLDERS = ("nyuv2", "NYUv2")
PARTS = {"pictures": "nyu_depth_v2_labeled.mat", "splits": "splits.mat"}
_HOST = "horatio.cs.nyu.edu/mit/silberman"
SOURCES = (
    Source(
        PARTS["pictures"],
        tuple(f"{scheme}://{_HOST}/nyu_depth_v2/nyu_depth_v2_labeled.mat" for scheme in ("http", "https")),
        md5="520609c519fba3ba5ac58c8fefcc3530",
        size=2_972_037_809,
    ),
    Source(
        PARTS["splits"],
        tuple(f"{scheme}://{_HOST}/indoor_seg_sup/splits.mat" for scheme in ("http", "https")),
        md5="08e3c3aea27130ac7c01ffd739a4535f",
    ),
)
EXPECTED = Expected(0, {"train": 795, "test": 654})
CITATION = "Silberman et al., Indoor segmentation and support inference from RGBD images, ECCV 2012"
ORIGIN = "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html"
LICENCE = "none stated"
# Width and height of the sensor's pictures.
SIZE = (640, 480)
VAL_SHARE = 0.2


@dataclass(frozen=True)
class Labelled:
    """The labelled pictures of one file, none of them read. size: of each, width and height. scenes: where each was taken.

    bytes: of the file.
    """

    path: Path
    size: tuple[int, int]
    scenes: tuple[str, ...]
    bytes: int

    def __len__(self) -> int:
        return len(self.scenes)

    def depth(self, row: int) -> npt.NDArray[np.float32]:
        """float32 (H, W) metres of one picture. Raises DataError for what is no distance."""
        # A copy, so that whoever writes to it gets no error.
        depth: npt.NDArray[np.float32] = np.array(_kept(self, "depths")[row])
        if not (np.isfinite(depth).all() and (depth >= 0).all()):
            raise DataError(
                f"{self.path}: expected depths of 0 or more metres, got others in picture {row + 1}; {AGAIN}"
            )
        return depth

    def pictures(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """uint8 (B, H, W, 3) of some rows."""
        pictures: npt.NDArray[np.uint8] = np.asarray(_kept(self, "images")[rows])
        return pictures


@lru_cache(maxsize=4)
def _kept(labelled: Labelled, name: str) -> npt.NDArray[Any]:
    """All `images` uint8 (N, H, W, 3) or `depths` float32 (N, H, W), from a file of our own.

    MATLAB cuts arrays into compressed blocks that may hold a corner of many pictures; then a single one takes a second.
    """
    channels, dtype = ((3,), "|u1") if name == "images" else ((), "<f4")
    shape = (len(labelled), *labelled.size[::-1], *channels)
    return kept_array(labelled.path, f"{name}-", labelled.bytes, shape, dtype, partial(_blocks, labelled.path, name))


def _blocks(path: Path, name: str) -> Iterator[npt.NDArray[Any]]:
    """Some pictures after the other; MATLAB counts columns first."""
    with opened(path) as file:
        data = file[name]
        step = max(data.chunks[0] if data.chunks else 1, 16)
        for start in range(0, len(data), step):
            block = data[start : start + step]
            yield block.transpose(0, 3, 2, 1) if name == "images" else block.transpose(0, 2, 1)


def read_labelled(path: Path, bytes_: int) -> Labelled:
    """The file's pictures by number and size, with their scenes. Raises DataError for what is not as published, but for these."""
    with opened(path) as file:
        count, _, width, height = checked(file, path, "images", (None, 3, None, None), "u").shape
        checked(file, path, "depths", (count, width, height), "f")
        references = np.asarray(checked(file, path, "scenes", (None, None), "O")[()]).ravel()
        names = tuple("".join(map(chr, np.asarray(file[reference][()]).ravel())) for reference in references)
        kind = file["images"].dtype
    if len(names) != count or kind != np.uint8:
        raise DataError(
            f"{path}: expected uint8 images and the scene of each, got {count} {kind} and {len(names)}; {AGAIN}"
        )
    return Labelled(path, (int(width), int(height)), names, bytes_)


@dataclass(frozen=True)
class PictureRows:
    """Some of the labelled pictures. numbers: (N,) from 0."""

    labelled: Labelled
    numbers: npt.NDArray[np.int64]
    targets: Targets
    missing: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Numbers from 1, as in the names of the files that are made of the pictures elsewhere."""
        return tuple(f"{number + 1:06d}" for number in self.numbers)

    def take(self, rows: npt.NDArray[np.int64]) -> PictureRows:
        """Some of the rows, in the order given."""
        return replace(self, numbers=self.numbers[rows], targets=self.targets.take(rows))

    def images(self, dataset: str, bad_images: str) -> Images:
        """The pictures; whatever is asked of them, they are the same ones, and so are their features."""
        files = [(name, self.labelled.bytes) for name in self.ids]
        return PictureImages(f"nyuv2:{sizes_digest('pictures', files)}", self.labelled, self.numbers)


@dataclass(frozen=True, eq=False)
class PictureImages(Images):
    """Read from the file when asked for."""

    fingerprint: str
    labelled: Labelled
    numbers: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def load(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """uint8 (B, H, W, 3)."""
        return self.labelled.pictures(self.numbers[np.asarray(rows, dtype=np.int64)])


def listing(found: Found, labelled: Labelled, targets: Targets, differs: Sequence[str] = ()) -> Listing:
    """The official train and test, in the lists' order; val is drawn from train by scenes. targets: of all pictures."""
    path = found.path("splits")
    rows = {split: _numbers(path, f"{split}Ndxs", len(labelled)) for split in ("train", "test")}
    if both := len(np.intersect1d(rows["train"], rows["test"])):
        raise DataError(f"{path}: expected each picture in train or test, got {both} in both; {AGAIN}")
    size = () if labelled.size == SIZE else (f"expected pictures of {SIZE}, found {labelled.size}",)
    return Listing(
        (),
        {split: PictureRows(labelled, numbers, targets.take(numbers)) for split, numbers in rows.items()},
        differs=(*size, *differs),
        draw=draw_by_scene([labelled.scenes[number] for number in rows["train"]]),
    )


def draw_by_scene(scenes: Sequence[str]) -> Draw:
    """Whole scenes, shuffled with seed 0, until a fifth of the rows or more are validation.

    Pictures of one scene are nearly the same, so that a validation of single rows would test what was learnt by heart. Parts
    of one scene, which differ in a letter after the number, count as one. Raises DataError for less than two scenes.
    """
    of_row = np.array([re.sub(r"(?<=\d)[a-z]$", "", scene) for scene in scenes])
    names, counts = np.unique(of_row, return_counts=True)
    if len(names) < 2:
        raise DataError(
            f"expected pictures of two scenes or more to draw validation from, got {names.tolist()}; {AGAIN}"
        )
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(names))
    enough = int(np.searchsorted(np.cumsum(counts[order]), VAL_SHARE * len(of_row))) + 1
    chosen = np.isin(of_row, names[order[: min(enough, len(names) - 1)]])
    told = f"{min(enough, len(names) - 1)} of {len(names)} scenes of train, shuffled with seed 0, about a fifth of the rows"
    return Draw(np.flatnonzero(~chosen), np.flatnonzero(chosen), told)


def _numbers(path: Path, name: str, count: int) -> npt.NDArray[np.int64]:
    (values,) = mat_arrays(path, name)
    given: npt.NDArray[Any] = values.ravel()
    fits = given.dtype.kind in "iuf" and given.size and (given == np.round(given)).all()
    if not (fits and given.min() >= 1 and given.max() <= count and len(np.unique(given)) == given.size):
        raise DataError(f"{path}: expected {name} to be different numbers from 1 to {count}, got others; {AGAIN}")
    return given.astype(np.int64) - 1
