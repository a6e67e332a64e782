"""Whether the sub-folders of a folder are splits or classes, told from their names and from where the pictures lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sslbench.datasets.families._folder_files import Unread, count_hidden, has_pictures, loose_pictures, subfolders
from sslbench.datasets.families._folder_names import SPLITS, looks_like_split, split_of
from sslbench.errors import DataError, tell
from sslbench.names import printable

LAYOUT = "expected PATH/CLASS/image files, or PATH/train, PATH/val and PATH/test with such class folders"


@dataclass(frozen=True)
class FolderLayout:
    """splits: the folder of each split, by `train`, `val` and `test`; empty where the classes lie in the folder itself.

    classes: their names, sorted.
    """

    splits: dict[str, str]
    classes: tuple[str, ...]


def find_layout(root: Path, unread: Unread) -> FolderLayout:
    """Look at the sub-folders.

    Names of two different splits make it splits, each with class folders. The name of one split alone, such as the vehicle
    `train`, is a class if pictures lie directly in it. Everything in between is refused rather than guessed: a split that
    becomes a class trains on its own test pictures. `unread` counts pictures and folders beside them.

    Raises:
        DataError: a split twice, without train, without class folders or with other classes; fewer than two classes; sub-folders
            that look like splits and cannot be read as such.
    """
    names = subfolders(root)
    named: dict[str, list[str]] = {}
    for name in names:
        if split := split_of(name):
            named.setdefault(split, []).append(name)
    count_hidden(root, unread)
    unread.loose += loose_pictures(root)
    if len(named) < 2:
        _refuse_hidden_splits(root, names, named)
        return FolderLayout({}, _class_names(root))
    splits = _splits(root, named)
    for folder in splits.values():
        count_hidden(root / folder, unread)
        unread.loose += loose_pictures(root / folder)
    others = [name for name in names if name not in splits.values()]
    unread.folders += [name for name in others if looks_like_split(name) or has_pictures(root / name)]
    return FolderLayout(splits, _same_classes(root, splits))


def _splits(root: Path, named: dict[str, list[str]]) -> dict[str, str]:
    twice = [f"{' and '.join(names)} are both {split}" for split, names in named.items() if len(names) > 1]
    if twice:
        raise DataError(f"{root}: the folders {'; '.join(twice)}; keep one of them, or rename them if they are classes")
    splits = {split: named[split][0] for split in SPLITS if split in named}
    if "train" not in splits:
        raise DataError(
            f"{root}: found {' and '.join(splits.values())} but no train; {LAYOUT}. Rename the folders if they are classes"
        )
    flat = [name for name in splits.values() if not subfolders(root / name)]
    if flat:
        raise DataError(
            f"{root}: {' and '.join(splits.values())} have the names of splits, but {' and '.join(flat)} "
            f"{'holds' if len(flat) == 1 else 'hold'} no class folders; {LAYOUT}. Pictures without classes cannot be used; "
            "rename the folders if they are classes"
        )
    return splits


def _same_classes(root: Path, splits: dict[str, str]) -> tuple[str, ...]:
    classes = {folder: _class_names(root / folder) for folder in splits.values()}
    train = splits["train"]
    for folder, names in classes.items():
        if names != classes[train]:
            odd = sorted(set(names) ^ set(classes[train]))
            raise DataError(f"{root}: {train} and {folder} name different classes: {', '.join(odd)}")
    return classes[train]


def _refuse_hidden_splits(root: Path, names: list[str], named: dict[str, list[str]]) -> None:
    """Sub-folders that are to be classes, though their names may be those of splits."""
    alike = {name: split for name in names if (split := looks_like_split(name))}
    nested = [name for name in alike if not loose_pictures(root / name)]
    for split, spelled in named.items():
        if inner := [name for name in spelled if name in nested]:
            raise DataError(
                f"{root}: {' and '.join(inner)} {'has' if len(inner) == 1 else 'have'} the name of a split ({split}), without "
                f"another split beside it. If it is the only one, name folder:{root / inner[0]}, from which splits are drawn; "
                "if it is a class, put its pictures directly into it"
            )
    if len(alike) == len(names) > 1 or len({alike[name] for name in nested}) > 1:
        raise DataError(
            f"{root}: the folders {', '.join(alike)} look like splits, not like classes. Name them train, val and test, or "
            "otherwise if they are classes"
        )
    if nested:
        tell(
            f"{printable(str(root))}: {', '.join(map(printable, nested))} may be meant as splits, and were read as classes; name "
            "splits train, val and test"
        )


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(subfolders(folder))
    if len(names) < 2:
        inside = f". If the classes lie in {names[0]}, name folder:{folder / names[0]}" if names else ""
        raise DataError(
            f"{folder}: found {len(names)} class folders {list(names)}; at least two are needed; {LAYOUT}{inside}"
        )
    return names
