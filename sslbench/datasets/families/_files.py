"""What the layouts with annotations beside the pictures have in common: pictures by stem, splits, and what is told of files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslbench.datasets.content import content_digest, identical_pictures
from sslbench.datasets.families._folder_files import Unread, count_hidden, pictures_below
from sslbench.datasets.families._folder_names import SPLITS
from sslbench.datasets.splits import stratified
from sslbench.errors import DataError, tell
from sslbench.names import printable

SPLIT_SEED = 0
NAMED = 5
# Under which a folder without splits of its own is given.
ALL = "all"


def by_stem(folder: Path, unread: Unread) -> dict[str, Path]:
    """The pictures below a folder, by their paths in it without suffix, in the order of these.

    Raises DataError for two of one stem, and for a folder without pictures.
    """
    count_hidden(folder, unread)
    found: dict[str, Path] = {}
    for path in pictures_below(folder, unread):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise DataError(
                f"{folder}: {found[stem].name} and {path.name} differ in their suffix only, so that nobody can tell what "
                "belongs to which; rename or remove one"
            )
        found[stem] = path
    if not found:
        aside = f" (not read: {unread.words()})" if unread.words() else ""
        raise DataError(f"{folder}: no images{aside}; expected image files in it or below it")
    return dict(sorted(found.items()))


def few(names: Collection[str]) -> str:
    """Some of the names, for a message."""
    shown = list(names)[:NAMED]
    return ", ".join(shown) + (", ..." if len(names) > NAMED else "")


def complete(
    name: str, given: Mapping[str, Sequence[str]], called: Mapping[str, str]
) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Stems for train, val and test, and how they came about for the record.

    given: those of the splits that there are, or of `ALL`, which are split 60/20/20. Without `test`, `val` is the test split
    (the ImageNet habit); without a validation split of its own, a fifth of train becomes val. Draws have seed 0 and are not
    stratified, since a picture has no class. called: the splits' names on disk.

    Raises DataError without train, with train alone, and for a split that stays empty.
    """
    if ALL in given:
        parts = dict(zip(SPLITS, _draw(given[ALL], (0.6, 0.2, 0.2)), strict=True))
        details: dict[str, Any] = {"split": "drawn 60/20/20", "split_seed": SPLIT_SEED}
    elif all(split in given for split in SPLITS):
        parts, details = {split: list(given[split]) for split in SPLITS}, {"split": "given"}
    elif "train" in given and len(given) == 2:
        test = next(split for split in given if split != "train")
        train, val = _draw(given["train"], (0.8, 0.2))
        parts = {"train": train, "val": val, "test": list(given[test])}
        how = f"test from {called[test]}, val a fifth of {called['train']}"
        details = {"split": how, "split_seed": SPLIT_SEED}
    else:
        found = " and ".join(printable(called[split]) for split in given)
        raise DataError(f"{name}: found {found} alone; expected train and test, train and val, or all three")
    for split, stems in parts.items():
        if not stems:
            raise DataError(f"{name}: too few images to fill the {split} split; five are the fewest that can be split")
    return parts, details


def read_contents(paths: Sequence[Path]) -> list[tuple[Path, bytes]]:
    """Each path with the digest of what the file holds."""
    return [(path, content_digest(path)) for path in paths]


def tell_of_files(
    name: str, root: Path, parts: Mapping[str, Sequence[tuple[Path, bytes]]], unread: Unread
) -> dict[str, Any]:
    """For the record, and in a DataWarning: files that were not read, and identical pictures."""
    details: dict[str, Any] = {}
    if left := unread.details():
        details["not_read"] = {key: _printable(value) for key, value in left.items()}
        tell(f"{printable(name)}: not read: {printable(unread.words())}")
    identical, told = identical_pictures(
        {
            split: [(content, 0, str(path.relative_to(root))) for path, content in files]
            for split, files in parts.items()
        }
    )
    if identical:
        details["identical_pictures"] = identical
        tell(f"{printable(name)}: of the pictures, compared byte by byte, {printable(told)}")
    return details


def _printable(value: Any) -> Any:
    return {printable(text): count for text, count in value.items()} if isinstance(value, dict) else value


def _draw(stems: Sequence[str], fractions: tuple[float, ...]) -> list[list[str]]:
    parts = stratified(np.zeros(len(stems), dtype=np.int64), fractions, SPLIT_SEED)
    return [[stems[row] for row in part] for part in parts]
