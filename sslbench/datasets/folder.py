"""A user's own folder of images: `folder:PATH`, one sub-folder a class, with or without train/val/test above."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, ImageSource, Split
from sslbench.datasets.images import EXTENSIONS, read_or_skip
from sslbench.datasets.splits import stratified
from sslbench.errors import DataError

SPLIT_SEED = 0
SPLITS = ("train", "val", "test")
_LAYOUT = "expected PATH/CLASS/image files, or PATH/train, PATH/val and PATH/test with such class folders"

Rows = list[tuple[Path, int]]


def load_folder(name: str, settings: Settings) -> Dataset:
    """Load `folder:PATH`.

    With `train`, `val` and `test` sub-folders these are the splits. Without `test`, `val` is the test split (the
    ImageNet habit); without a validation folder of its own, a stratified fifth of train becomes val. A folder without
    split sub-folders is split 60/20/20. Every drawn split is stratified with seed 0, which the record states.
    Raises DataError for a missing, empty or one-class folder and for splits that name different classes.
    """
    path = Path(name.removeprefix("folder:")).expanduser()
    # A relative path is looked for from the current directory, then below the data directory.
    places = [path, settings.data_dir / path]
    root = next((place for place in places if place.is_dir()), None)
    if root is None:
        looked = " or ".join(dict.fromkeys(str(place.absolute()) for place in places))
        raise DataError(f"{name}: there is no folder {looked}; {_LAYOUT}. The data directory is set by --sslbench-data")
    given = [split for split in SPLITS if (root / split).is_dir()]
    if "train" in given and len(given) > 1:
        parts, classes, details = _given_splits(root, given)
    else:
        classes = _class_names(root)
        rows = _scan(root, classes)
        indices = stratified(np.array([label for _, label in rows]), (0.6, 0.2, 0.2), SPLIT_SEED)
        parts = {split: [rows[i] for i in part] for split, part in zip(SPLITS, indices, strict=True)}
        details = {"split": "stratified 60/20/20", "split_seed": SPLIT_SEED}
    for split, part in parts.items():
        if not part:
            raise DataError(f"{name}: too few images to fill the {split} split; give each class at least three images")
    splits = {split: _split(split, rows, root, settings.bad_images) for split, rows in parts.items()}
    return Dataset(name=name, classes=classes, splits=splits, metric="top1", details=details)


def _given_splits(root: Path, given: list[str]) -> tuple[dict[str, Rows], tuple[str, ...], dict[str, object]]:
    classes = _class_names(root / "train")
    for split in given[1:]:
        other = _class_names(root / split)
        if other != classes:
            odd = sorted(set(other) ^ set(classes))
            raise DataError(f"{root}: train and {split} name different classes: {', '.join(odd[:8])}")
    rows = {split: _scan(root / split, classes) for split in given}
    if "val" in rows and "test" in rows:
        return rows, classes, {"split": "given"}
    test = "test" if "test" in rows else "val"
    keep, held_out = stratified(np.array([label for _, label in rows["train"]]), (0.8, 0.2), SPLIT_SEED)
    parts = {
        "train": [rows["train"][i] for i in keep],
        "val": [rows["train"][i] for i in held_out],
        "test": rows[test],
    }
    return parts, classes, {"split": f"test from {test}/, val a stratified fifth of train/", "split_seed": SPLIT_SEED}


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."))
    if len(names) < 2:
        raise DataError(f"{folder}: found {len(names)} class folders {list(names)}; at least two are needed; {_LAYOUT}")
    return names


def _scan(folder: Path, classes: tuple[str, ...]) -> Rows:
    rows: Rows = []
    for label, name in enumerate(classes):
        # Names that start with a dot are other systems' metadata (._photo.jpg), not pictures.
        files = sorted(
            path
            for path in (folder / name).rglob("*")
            if path.suffix.lower() in EXTENSIONS and path.name[0] != "." and path.is_file()
        )
        if not files:
            raise DataError(f"{folder / name}: no image in this class folder; add images or remove the folder")
        rows += [(path, label) for path in files]
    return rows


def _split(name: str, rows: Rows, root: Path, bad_images: str) -> Split:
    digest = hashlib.blake2b(bad_images.encode(), digest_size=16)
    for path, _ in rows:
        # The content counts, not the modification time, so that a copy on another machine hits the same cache.
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest())
    paths = [path for path, _ in rows]

    def read(start: int, stop: int) -> list[Image.Image | None]:
        return [read_or_skip(path, bad_images) for path in paths[start:stop]]

    targets: npt.NDArray[np.int64] = np.array([label for _, label in rows], dtype=np.int64)
    source = ImageSource(f"folder:{digest.hexdigest()}", len(rows), read, parallel=True, paths=paths)
    return Split(name, source, targets)
