"""A user's own folder of images: `folder:PATH`, one sub-folder a class, with or without splits above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslbench.config import Settings
from sslbench.datasets.content import content_digest, identical_pictures, image_files
from sslbench.datasets.dataset import Dataset, Split
from sslbench.datasets.families._folder_files import Unread, pictures_below
from sslbench.datasets.families._folder_layout import LAYOUT, FolderLayout, find_layout
from sslbench.datasets.families._folder_names import SPLITS, parse_folder, split_of
from sslbench.datasets.family import find_root
from sslbench.datasets.splits import stratified
from sslbench.datasets.targets import Labels
from sslbench.errors import DataError, tell
from sslbench.names import printable

SPLIT_SEED = 0
NAMED = 5


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
    splits = {
        split: Split(
            split,
            image_files("folder", root, list(zip(rows.paths, rows.digests, strict=True)), settings.bad_images),
            Labels(rows.targets),
        )
        for split, rows in parts.items()
    }
    return Dataset(name=name, classes=layout.classes, splits=splits, metric=metric, details=details)


def _find(name: str, settings: Settings) -> tuple[Path, str]:
    text, metric = parse_folder(name, (Path(), settings.data_dir))
    option = "; the one option of a folder is ?metric=NAME" if "?" in text else ""
    return find_root(name, text, settings, LAYOUT + option), metric


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
    return Rows(paths, targets, tuple(map(content_digest, paths)))


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
