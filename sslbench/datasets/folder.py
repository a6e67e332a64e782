"""A user's own folder of images: `folder:PATH`, one sub-folder a class, with or without splits above."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sslbench.config import Settings, expand
from sslbench.datasets.dataset import Dataset, Split
from sslbench.datasets.decoding import DAMAGE
from sslbench.datasets.folder_files import Unread, pictures_below
from sslbench.datasets.folder_layout import LAYOUT, FolderLayout, find_layout
from sslbench.datasets.folder_names import SPLITS, parse_folder, split_of
from sslbench.datasets.identical import identical_pictures
from sslbench.datasets.images import ImageFiles
from sslbench.datasets.splits import stratified
from sslbench.datasets.targets import Labels
from sslbench.errors import DataError, tell
from sslbench.files import is_there
from sslbench.names import encoded, printable

SPLIT_SEED = 0
NAMED = 5
# Part of the fingerprint of pictures of floats or of 32-bit integers, which were decoded by another rule before.
_WIDE_VALUES = b"wide-1"
_MAY_BE_WIDE = (b"II", b"MM", b"P2", b"P5", b"Pf")


@dataclass(frozen=True)
class Rows:
    """Pictures in order: paths, class numbers (N,), and a digest of each file's content."""

    paths: tuple[Path, ...]
    targets: npt.NDArray[np.int64]
    digests: tuple[bytes, ...]

    def take(self, rows: npt.NDArray[np.int64]) -> Rows:
        """Some of them."""
        paths, digests = (tuple(values[row] for row in rows) for values in (self.paths, self.digests))
        return replace(self, paths=paths, targets=self.targets[rows], digests=digests)


def load_folder(name: str, settings: Settings) -> Dataset:
    """Load `folder:PATH`, or `folder:PATH?metric=NAME`.

    Sub-folders whose names are spellings of `train`, `val` and `test` are the splits (see `find_layout`). Without `test`, `val`
    is the test split (the ImageNet habit); without a validation folder of its own, a stratified fifth of train becomes val. A
    folder without split sub-folders is split 60/20/20. Every drawn split is stratified with seed 0, which the record states.

    What is not read is counted in the details, and so are identical files; both are told in a DataWarning.

    Raises DataError for a missing, empty or one-class folder, for folders that are neither clearly splits nor classes, and for
    splits that name different classes.
    """
    root, metric = _find(name, settings)
    unread = Unread()
    layout = find_layout(root, unread)
    given = {split: _scan(root / folder, layout.classes, unread) for split, folder in layout.splits.items()}
    parts, details = _given(given, layout) if given else _drawn(_scan(root, layout.classes, unread))
    for split, rows in parts.items():
        if not rows.paths:
            raise DataError(f"{name}: too few images to fill the {split} split; give each class at least three images")
    details |= _tell_of_files(name, root, parts, 2 if given else 1, unread)
    splits = {split: _split(split, rows, root, settings.bad_images) for split, rows in parts.items()}
    return Dataset(name=name, classes=layout.classes, splits=splits, metric=metric, details=details)


def _find(name: str, settings: Settings) -> tuple[Path, str]:
    # A relative path is looked for from the current directory, then below the data directory.
    text, metric = parse_folder(name, (Path(), settings.data_dir))
    path = expand(text)
    places = [path, settings.data_dir / path]
    root = next((place for place in places if is_there(place) and place.is_dir()), None)
    if root is None:
        looked = " or ".join(dict.fromkeys(str(place.absolute()) for place in places))
        option = "; the one option of a folder is ?metric=NAME" if "?" in text else ""
        raise DataError(
            f"{name}: there is no folder {looked}; {LAYOUT}{option}. The data directory is set by --sslbench-data"
        )
    return root, metric


def _given(rows: Mapping[str, Rows], layout: FolderLayout) -> tuple[dict[str, Rows], dict[str, Any]]:
    folders = {split: printable(folder) for split, folder in layout.splits.items()}
    details: dict[str, Any] = {} if all(split == folder for split, folder in folders.items()) else {"folders": folders}
    if "val" in rows and "test" in rows:
        return dict(rows), {"split": "given", **details}
    test = "test" if "test" in rows else "val"
    keep, held_out = stratified(rows["train"].targets, (0.8, 0.2), SPLIT_SEED)
    parts = {"train": rows["train"].take(keep), "val": rows["train"].take(held_out), "test": rows[test]}
    how = f"test from {folders[test]}/, val a stratified fifth of {folders['train']}/"
    return parts, {"split": how, "split_seed": SPLIT_SEED, **details}


def _drawn(rows: Rows) -> tuple[dict[str, Rows], dict[str, Any]]:
    indices = stratified(rows.targets, (0.6, 0.2, 0.2), SPLIT_SEED)
    parts = {split: rows.take(part) for split, part in zip(SPLITS, indices, strict=True)}
    return parts, {"split": "stratified 60/20/20", "split_seed": SPLIT_SEED}


def _scan(folder: Path, classes: Sequence[str], unread: Unread) -> Rows:
    found = [pictures_below(folder / name, unread) for name in classes]
    empty = [name for name, paths in zip(classes, found, strict=True) if not paths]
    if empty:
        aside = f" (not read: {unread.words()})" if unread.words() else ""
        raise DataError(
            f"{folder / empty[0]}: no image in this class folder; add images or remove the folder{aside}"
            if len(empty) == 1
            else f"{folder}: no image in the class folders {', '.join(empty)}; add images or remove the folders{aside}"
        )
    paths = tuple(path for part in found for path in part)
    targets = np.repeat(np.arange(len(classes)), [len(part) for part in found])
    return Rows(paths, targets, tuple(map(_digest, paths)))


def _digest(path: Path) -> bytes:
    """Digest of a file's content and, where that was once decoded otherwise, of how it is decoded now."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; make it readable or remove it") from error
    return digest + _WIDE_VALUES if start in _MAY_BE_WIDE and _is_wide(path) else digest


def _is_wide(path: Path) -> bool:
    with warnings.catch_warnings():
        # Told when the picture is decoded, by name.
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                return image.mode in ("I", "F")
        except DAMAGE:
            return False


def _tell_of_files(name: str, root: Path, parts: Mapping[str, Rows], depth: int, unread: Unread) -> dict[str, Any]:
    """What the record says of files that were not read, of splits inside of classes and of identical files.

    depth: how many folders lie between the root and the pictures of a class.
    """
    details: dict[str, Any] = {}
    if left := unread.details():
        details["not_read"] = {key: _printable(value) for key, value in left.items()}
        tell(f"{printable(name)}: not read: {printable(unread.words())}")
    relative = {split: [path.relative_to(root) for path in rows.paths] for split, rows in parts.items()}
    inner = {
        Path(*path.parts[: place + 1]).as_posix()
        for paths in relative.values()
        for path in paths
        for place in range(depth, len(path.parts) - 1)
        if split_of(path.parts[place])
    }
    if inner:
        details["splits_inside_of_classes"] = _printable(sorted(inner))
        few = ", ".join(details["splits_inside_of_classes"][:NAMED]) + (", ..." if len(inner) > NAMED else "")
        tell(
            f"{printable(name)}: {few} have names of splits, but lie inside of class folders and were read as part of them"
        )
    identical, told = identical_pictures(
        {
            split: list(zip(rows.digests, rows.targets.tolist(), map(str, relative[split]), strict=True))
            for split, rows in parts.items()
        }
    )
    if identical:
        details["identical_pictures"] = identical
        tell(f"{printable(name)}: of the pictures, compared byte by byte, {printable(told)}")
    return details


def _printable(value: Any) -> Any:
    if isinstance(value, list):
        return [printable(text) for text in value]
    if isinstance(value, dict):
        return {printable(text): count for text, count in value.items()}
    return value


def _split(name: str, rows: Rows, root: Path, bad_images: str) -> Split:
    digest = hashlib.blake2b(bad_images.encode(), digest_size=16)
    for path, content in zip(rows.paths, rows.digests, strict=True):
        # The content counts, not the modification time, so that a copy on another machine hits the same cache.
        digest.update(encoded(path.relative_to(root).as_posix()) + b"\0" + content)
    return Split(name, ImageFiles(f"folder:{digest.hexdigest()}", rows.paths, bad_images), Labels(rows.targets))
