"""ADE20K as the scene parsing challenge of 2016 has it: which of 150 kinds of things and stuff each pixel shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import AGAIN, text_lines
from sslbench.datasets.published._file_maps import sizes_digest
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import NAMED, Listing, few, open_dataset
from sslbench.datasets.published.rows import FileRows, file_rows
from sslbench.datasets.targets import Masks
from sslbench.errors import DataError, IncompleteDataError
from sslbench.sources import Source

# The first of the names in the challenge's objectInfo150, in the order of its numbers 1 to 150.
CLASSES = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet", "sidewalk",
    "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water", "painting", "sofa",
    "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp",
    "bathtub", "railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter", "sand", "sink",
    "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs", "runway", "case", "pool table", "pillow",
    "screen door", "stairway", "river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill",
    "bench", "countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine",
    "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth",
    "television receiver", "airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman",
    "bottle", "buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything",
    "swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food",
    "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket",
    "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate",
    "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag",
)  # fmt: skip
IGNORE = 255
FOLDERS = {"train": "training", "test": "validation"}
_ARCHIVE = "ADEChallengeData2016"

SPEC = DatasetSpec(
    name="ade20k",
    loader="sslbench.datasets.published.ade20k:load",
    num_classes=150,
    summary="which of 150 kinds of things and stuff each pixel shows, indoors and outdoors",
    licence="non-commercial research ?",
    origin="https://groups.csail.mit.edu/vision/datasets/ADE20K/",
    metric=None,
    targets=Masks,
    markers=("download",),
    folder="ade20k",
    sources=(
        Source(
            f"{_ARCHIVE}.zip",
            (
                f"http://data.csail.mit.edu/places/ADEchallenge/{_ARCHIVE}.zip",
                f"https://data.csail.mit.edu/places/ADEchallenge/{_ARCHIVE}.zip",
            ),
            md5="7328b3957e407ddae1d3cbf487f149ef",
            unpack=".",
        ),
    ),
    layouts=layouts(
        {
            "official": (f"ade20k/{_ARCHIVE}", _ARCHIVE, f"ADE20K/{_ARCHIVE}"),
            "mmsegmentation": f"ade/{_ARCHIVE}",
        },
        **{
            f"{part}_{split}": f"{part}/{name}" for split, name in FOLDERS.items() for part in ("images", "annotations")
        },
    ),
    expected=Expected(150, {"train": 20_210, "test": 2_000}),
    citation="Zhou et al., Scene parsing through ADE20K dataset, CVPR 2017",
)


def load(settings: Settings) -> Dataset:
    """Test is the official validation set; train and val are the official training set, from which val is drawn."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """The pictures that `training.odgt` and `validation.odgt` list, where they lie in the folder or beside it, else all.

    Raises IncompleteDataError for masks that are absent or empty, DataError for lists that cannot be read.
    """
    return Listing(CLASSES, {split: _rows(found, split) for split in FOLDERS})


@dataclass(frozen=True)
class _Reader:
    """Reads one of several masks and looks whether it fits its picture."""

    masks: tuple[str, ...]
    pictures: tuple[str, ...]

    def __call__(self, row: int) -> npt.NDArray[np.uint8]:
        return read_mask(Path(self.masks[row]), Path(self.pictures[row]))


def read_mask(path: Path, picture: Path) -> npt.NDArray[np.uint8]:
    """uint8 (H, W): class numbers from 0, 255 for what is not labelled, which is 0 in the file.

    Raises DataError for a file that cannot be read, is no greyscale of the picture's size, or has numbers above 150.
    """
    # Not at the top: whoever lists datasets needs no PIL.
    from sslbench.datasets.content import read_header
    from sslbench.datasets.families._mask_coding import read_codes

    codes = read_codes(path, coloured=False)
    if codes.ndim != 2:
        raise DataError(f"{path}: expected a greyscale PNG of class numbers, got shape {codes.shape}; {AGAIN}")
    header = read_header(picture)
    # An unreadable picture is told of, or skipped, when it is decoded.
    if header and header[0] != codes.shape[::-1]:
        (width, height), (rows, columns) = header[0], codes.shape
        raise DataError(
            f"{path} has {columns} x {rows} pixels and its picture {width} x {height}; masks and pictures have to be of one "
            f"version: {AGAIN}"
        )
    odd = codes[(codes < 0) | (codes > len(CLASSES))]
    if odd.size:
        raise DataError(f"{path}: expected numbers from 0 to {len(CLASSES)}, got {odd[0]}; {AGAIN}")
    # 0 wraps around to 255.
    return codes.astype(np.uint8) - np.uint8(1)


def _rows(found: Found, split: str) -> FileRows:
    images, masks = _listed(found, split) or _in_folders(found, split)
    sizes = [found.disk.size(f"{found.base}/{mask}") for mask in masks]
    absent = [mask for mask, size in zip(masks, sizes, strict=True) if not size]
    if absent:
        raise IncompleteDataError(
            f"{len(absent)} of the {len(masks)} masks of {FOLDERS[split]} are absent or empty in {found.base}: {few(absent)}; "
            "the archive may be extracted incompletely",
            absent[:NAMED],
            count=len(absent),
            found=True,
        )
    reader = _Reader(
        tuple(f"{found.base}/{mask}" for mask in masks), tuple(f"{found.base}/{image}" for image in images)
    )
    fingerprint = f"ade20k:masks:{sizes_digest('label - 1', zip(masks, sizes, strict=True))}"
    return file_rows(found.base, images, Masks(reader, fingerprint, np.arange(len(masks)), ignore=IGNORE), found.disk)


def _in_folders(found: Found, split: str) -> tuple[list[str], list[str]]:
    """By sorted names; one of a pair is enough for the other to be missed."""
    folder = FOLDERS[split]
    stems = {
        name.rpartition(".")[0]
        for part, suffix in (("images", ".jpg"), ("annotations", ".png"))
        for name in found.disk.files(found.path(f"{part}_{split}"))
        if name.endswith(suffix) and name[0] != "."
    }
    return (
        [f"images/{folder}/{stem}.jpg" for stem in sorted(stems)],
        [f"annotations/{folder}/{stem}.png" for stem in sorted(stems)],
    )


def _listed(found: Found, split: str) -> tuple[list[str], list[str]] | None:
    """By the list, in its order; None where there is none."""
    name = f"{FOLDERS[split]}.odgt"
    path = next((place / name for place in (found.base, found.base.parent) if name in found.disk.files(place)), None)
    if path is None:
        return None
    rows = [_entry(path, number, line) for number, line in enumerate(text_lines(path), 1)]
    repeated = len(rows) - len(set(rows))
    if repeated:
        raise DataError(f"{path} lists {repeated} pictures more than once; {AGAIN}")
    return [image for image, _ in rows], [mask for _, mask in rows]


def _entry(path: Path, number: int, line: str) -> tuple[str, str]:
    try:
        entry: Any = json.loads(line)
        image, mask = (str(entry[key]) for key in ("fpath_img", "fpath_segm"))
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path}: row {number}: expected one JSON object with fpath_img and fpath_segm, got {line[:80]!r}; {AGAIN}"
        ) from error
    return _below(path, number, image), _below(path, number, mask)


def _below(path: Path, number: int, name: str) -> str:
    """The path below the folder that the list's paths begin with."""
    first, *rest = PurePosixPath(name).parts or ("",)
    if first != _ARCHIVE or not rest or ".." in rest:
        raise DataError(f"{path}: row {number}: expected a path that begins with {_ARCHIVE}/, got {name!r}; {AGAIN}")
    return "/".join(rest)
