"""A folder of images and masks: which mask belongs to which image, and which split they are of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslbench.config import Settings
from sslbench.datasets.content import files_digest, image_files, read_header
from sslbench.datasets.dataset import Dataset, Split
from sslbench.datasets.families._files import ALL, by_stem, complete, few, read_contents, tell_of_files
from sslbench.datasets.families._folder_files import Unread, loose_pictures, subfolders
from sslbench.datasets.families._folder_names import SPLITS, split_of
from sslbench.datasets.families._mask_coding import COLOURS, LOSSLESS, NUMBERS, Coding, coding_of
from sslbench.datasets.families._mask_ignore import parse_ignore
from sslbench.datasets.families._mask_table import read_table
from sslbench.datasets.families.masks import OPTIONS
from sslbench.datasets.family import find_root, parse_name
from sslbench.datasets.targets import Masks
from sslbench.errors import DataError
from sslbench.names import printable

LAYOUT = (
    "expected PATH/images and PATH/masks with files of the same stem, or PATH/train with PATH/trainannot and likewise val and "
    "test"
)


@dataclass(frozen=True)
class _Files:
    """Reads one of several masks."""

    paths: tuple[Path, ...]
    coding: Coding

    def __call__(self, row: int) -> npt.NDArray[Any]:
        return self.coding.read(self.paths[row])


def load_masks(name: str, settings: Settings) -> Dataset:
    """Load `masks:PATH`, or `masks:PATH?ignore=...`.

    Two layouts: `images` and `masks`, each perhaps with folders for splits, or CamVid's `train` and `trainannot`. A mask has its
    image's stem and size. Its file holds class numbers (grey levels, or the indices of a palette) or, with a table of
    classes, colours (see `coding_of`). Splits are completed as `complete` says.

    No mask is decoded, unless it holds class numbers and no table names the classes.

    Raises DataError for a missing folder, neither or both layouts, images without mask and the other way round, sizes
    that differ, masks of several sorts, and what `coding_of` refuses.
    """
    text, options = parse_name(name, OPTIONS, (Path(), settings.data_dir))
    ignore = parse_ignore(name, options)
    option = "; the one option is ?ignore=..." if "?" in text else ""
    root = find_root(name, text, settings, LAYOUT + option)
    unread = Unread()
    images, masks = dict[str, Path](), dict[str, Path]()
    given: dict[str, list[str]] = {}
    called: dict[str, str] = {}
    for split, (of_images, of_masks) in _layout(name, root).items():
        here, there = by_stem(root / of_images, unread), by_stem(root / of_masks, unread)
        _check_pairs(name, of_images, of_masks, sorted(set(here) - set(there)), sorted(set(there) - set(here)))
        given[split], called[split] = [f"{split}/{stem}" for stem in here], f"{of_images}/"
        images |= {f"{split}/{stem}": path for stem, path in here.items()}
        masks |= {f"{split}/{stem}": path for stem, path in there.items()}
    stems, details = complete(name, given, called)
    coloured = _check_headers(name, root, images, masks)
    table = read_table(root)
    coding = coding_of(name, coloured, table, ignore, [masks[stem] for part in stems.values() for stem in part])
    files = {split: read_contents([images[stem] for stem in part]) for split, part in stems.items()}
    details |= {
        "masks": "colours" if coloured else "class numbers",
        "classes_from": table.path.name if table else "the masks",
    }
    details |= tell_of_files(name, root, files, unread)
    splits = {
        split: Split(
            split,
            image_files("masks", root, files[split], settings.bad_images),
            _targets(root, tuple(masks[stem] for stem in part), coding),
        )
        for split, part in stems.items()
    }
    return Dataset(name=name, classes=coding.classes, splits=splits, metric=None, details=details)


def _targets(root: Path, paths: tuple[Path, ...], coding: Coding) -> Masks:
    meaning = json.dumps([coding.classes, coding.codes, coding.numbers, coding.coloured])
    fingerprint = f"masks:{files_digest(meaning, root, read_contents(paths))}"
    return Masks(_Files(paths, coding), fingerprint, np.arange(len(paths)), ignore=coding.ignore)


def _layout(name: str, root: Path) -> dict[str, tuple[str, str]]:
    """For each split that is given, or `ALL`, the folders of images and of masks, below the root."""
    folders = subfolders(root)
    paired = {split: (split, f"{split}annot") for split in SPLITS if f"{split}annot" in folders}
    beside = [folder for folder in ("images", "masks") if folder in folders]
    if paired and beside:
        raise DataError(
            f"{name}: {root} has {' and '.join(beside)} and {', '.join(folder for _, folder in paired.values())}; "
            f"{LAYOUT}, not both"
        )
    if paired:
        if alone := [masks for images, masks in paired.values() if images not in folders]:
            raise DataError(f"{name}: {root} has {' and '.join(alone)} without the images; {LAYOUT}")
        if alone := [split for split in SPLITS if split in folders and split not in paired]:
            raise DataError(f"{name}: {root} has {' and '.join(alone)} without the masks; {LAYOUT}")
        return paired
    if len(beside) < 2:
        raise DataError(
            f"{name}: {root} has {beside[0] if beside else 'neither images nor masks'}{' alone' * len(beside)}; {LAYOUT}"
        )
    named = {folder: _splits(name, root, folder) for folder in beside}
    if set(named["images"]) != set(named["masks"]):
        odd = sorted(set(named["images"]) ^ set(named["masks"]))
        raise DataError(
            f"{name}: images and masks of {root} have different splits: {', '.join(odd)} in one of them only"
        )
    if not named["images"]:
        return {ALL: ("images", "masks")}
    return {
        split: (f"images/{named['images'][split]}", f"masks/{named['masks'][split]}")
        for split in SPLITS
        if split in named["images"]
    }


def _splits(name: str, root: Path, folder: str) -> dict[str, str]:
    """The sub-folders of `images` or `masks` that are splits, by split."""
    found: dict[str, str] = {}
    inner = subfolders(root / folder)
    for inside in inner:
        if split := split_of(inside):
            if split in found:
                raise DataError(
                    f"{name}: {root / folder}: {found[split]} and {inside} are both {split}; keep one of them"
                )
            found[split] = inside
            if deeper := [further for further in subfolders(root / folder / inside) if split_of(further)]:
                raise DataError(
                    f"{name}: {root / folder / inside} has {', '.join(deeper)} in it, so that one split would be read as part of "
                    "another; move them beside each other"
                )
    others = [inside for inside in inner if inside not in found.values()]
    if found and (others or loose_pictures(root / folder)):
        beside = ", ".join(others) or "image files"
        raise DataError(
            f"{name}: {root / folder} has {beside} beside the splits {', '.join(found.values())}; move them"
        )
    return found


def _check_pairs(name: str, of_images: str, of_masks: str, images: Sequence[str], masks: Sequence[str]) -> None:
    told = [f"{len(images)} of {of_images} without a mask in {of_masks} ({few(images)})"] if images else []
    told += [f"{len(masks)} of {of_masks} without an image in {of_images} ({few(masks)})"] if masks else []
    if told:
        raise DataError(f"{name}: {printable('; '.join(told))}. A mask has its image's name, but for the suffix")


def _check_headers(name: str, root: Path, images: dict[str, Path], masks: dict[str, Path]) -> bool:
    """Whether the masks hold colours, by their headers."""
    lossy, other, sizes = list[str](), list[str](), list[str]()
    sorts: dict[bool, str] = {}
    for stem, path in masks.items():
        header, where = read_header(path), path.relative_to(root).as_posix()
        if header is None:
            raise DataError(f"cannot read the mask {path}; replace or remove it")
        size, mode, kind = header
        if kind not in LOSSLESS:
            lossy.append(f"{where} ({kind})")
        elif mode not in NUMBERS | COLOURS:
            other.append(f"{where} ({mode})")
        sorts.setdefault(mode in COLOURS, where)
        picture = read_header(images[stem])
        # An unreadable picture is told of, or skipped, when it is decoded.
        if picture and picture[0] != size:
            width, height = picture[0]
            sizes.append(f"{where} has {size[0]} x {size[1]} pixels and its image {width} x {height}")
    if lossy:
        raise DataError(
            f"{name}: {len(lossy)} masks are in formats that change values: {printable(few(lossy))}; save masks as PNG from "
            "where they were made, not from these files"
        )
    if other:
        raise DataError(
            f"{name}: {len(other)} masks hold neither class numbers nor RGB: {printable(few(other))}; save them as PNG"
        )
    if sizes:
        raise DataError(f"{name}: {len(sizes)} masks have another size than their image: {printable(few(sizes))}")
    if len(sorts) > 1:
        raise DataError(
            f"{name}: {printable(sorts[True])} holds colours and {printable(sorts[False])} class numbers; save all masks alike"
        )
    return next(iter(sorts))
