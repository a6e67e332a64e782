"""The files below a class folder: which are pictures, and what is left out, counted."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from sslbench.datasets.decoding import EXTENSIONS
from sslbench.datasets.families._folder_names import is_hidden
from sslbench.errors import DataError

# Of what PIL opens, the formats of pictures: no icons, documents, videos, nor what runs another program.
_FORMATS = frozenset(
    {"JPEG", "MPO", "JPEG2000", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "HEIF", "PPM", "TGA", "PCX", "QOI"}
)
# Those that the first bytes tell for certain. Not TIFF: raw files of cameras start alike and hold a thumbnail first.
_CERTAIN = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF", "JPEG2000", "QOI")
NO_SUFFIX = "no suffix"


@dataclass
class Unread:
    """What was found and not read.

    suffixes: files that are no pictures, by lower-case suffix. hidden: pictures in hidden files and folders. loose: pictures
    outside of the class folders. broken: links that lead nowhere. repeated: links to folders that were read already, or that
    lead in a circle. folders: those with pictures that are neither split nor class.
    """

    suffixes: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    loose: int = 0
    broken: int = 0
    repeated: int = 0
    folders: list[str] = field(default_factory=list)

    def details(self) -> dict[str, Any]:
        """For the record; only what there is."""
        counted = {
            "other_files": dict(sorted(self.suffixes.items())),
            "hidden_pictures": self.hidden,
            "pictures_outside_of_classes": self.loose,
            "broken_links": self.broken,
            "repeated_folders": self.repeated,
            "unused_folders": sorted(self.folders),
        }
        return {name: value for name, value in counted.items() if value}

    def words(self) -> str:
        """For people; empty where everything was read."""
        told = [f"{suffix}: {count}" for suffix, count in sorted(self.suffixes.items())]
        for what, count in (
            ("hidden pictures", self.hidden),
            ("pictures outside of the class folders", self.loose),
            ("broken links", self.broken),
            ("links to folders that were read already", self.repeated),
        ):
            told += [f"{what}: {count}"] if count else []
        told += [f"the folder {name}" for name in sorted(self.folders)]
        return ", ".join(told)


def entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """What a directory holds, sorted by name. Raises DataError where it cannot be listed."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror}; make it readable or remove it") from error


def subfolders(folder: Path) -> list[str]:
    """Names of the directories in a folder, links to directories included, without hidden ones, sorted."""
    return [entry.name for entry in entries(folder) if not is_hidden(entry.name) and _is_folder(entry)]


def loose_pictures(folder: Path) -> int:
    """How many pictures lie in a folder itself."""
    return sum(_is_file(entry) and is_picture(entry.path) for entry in entries(folder) if not is_hidden(entry.name))


def count_hidden(folder: Path, unread: Unread) -> None:
    """Count the pictures in hidden files and folders that lie in a folder itself."""
    for entry in entries(folder):
        if is_hidden(entry.name):
            unread.hidden += _hidden_pictures(entry)


def pictures_below(folder: Path, unread: Unread) -> list[Path]:
    """The pictures of a class, at any depth, sorted by the parts of their paths; `unread` counts the rest.

    Links to folders are followed, after the folders themselves and each folder once, so that a circle ends and a link beside
    its target changes nothing.
    """
    # Above the class too: a link to the dataset's root would make all classes part of this one.
    seen = {_identity(place) for place in (folder, *folder.resolve().parents)}
    found: list[str] = []
    pending, links = [str(folder)], list[str]()
    while pending or links:
        if not pending:
            target = links.pop(0)
            if _identity(target) in seen:
                unread.repeated += 1
                continue
            seen.add(_identity(target))
            pending.append(target)
        for entry in entries(pending.pop()):
            if is_hidden(entry.name):
                unread.hidden += _hidden_pictures(entry)
            elif _is_folder(entry):
                if entry.is_symlink():
                    links.append(entry.path)
                elif _identity(entry.path) in seen:
                    unread.repeated += 1
                else:
                    seen.add(_identity(entry.path))
                    pending.append(entry.path)
            elif not _is_file(entry):
                unread.broken += entry.is_symlink()
            elif is_picture(entry.path):
                found.append(entry.path)
            else:
                unread.suffixes[suffix_of(entry.name) or NO_SUFFIX] += 1
    return sorted(map(Path, found))


def has_pictures(folder: Path) -> bool:
    """Whether a picture lies in a folder or below it, links to folders left out."""
    return any(is_picture(path) for path in _files(folder))


def is_picture(path: str) -> bool:
    """Whether a file is read: by its suffix, or by its first bytes where it has none."""
    suffix = suffix_of(path)
    if suffix in EXTENSIONS or suffix in _other_suffixes():
        return True
    try:
        return not suffix and _starts_like_picture(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; make it readable or remove it") from error


def suffix_of(name: str) -> str:
    """`.jpg` of `a/photo.JPG`; empty where there is none."""
    return os.path.splitext(name)[1].lower().rstrip(".")  # noqa: PTH122


@cache
def _other_suffixes() -> frozenset[str]:
    suffixes = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in suffixes if name in _FORMATS and name in Image.OPEN)


def _starts_like_picture(path: str) -> bool:
    Image.init()
    with open(path, "rb") as file:  # noqa: PTH123
        start = file.read(32)
    for name in _CERTAIN:
        _, accept = Image.OPEN.get(name, (None, None))
        # A text instead of yes says what PIL was built without.
        if accept is not None and accept(start) is True:
            return True
    return False


def _hidden_pictures(entry: os.DirEntry[str]) -> int:
    """Pictures of a hidden file or folder; `._photo.jpg` of macOS has only the name of one."""
    if entry.is_symlink():
        return 0
    count = 0
    for path in _files(entry.path) if entry.is_dir() else [entry.path]:
        # What a tool keeps for itself need not be readable.
        with contextlib.suppress(OSError):
            count += bool(suffix_of(path)) and is_picture(path) and _starts_like_picture(path)
    return count


def _files(folder: str | Path) -> Iterator[str]:
    for directory, _, names in os.walk(folder):
        for name in names:
            path = f"{directory}/{name}"
            if os.path.isfile(path):  # noqa: PTH113
                yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # Not entry.is_dir(), which raises for a link to itself.
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112


def _is_file(entry: os.DirEntry[str]) -> bool:
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()  # noqa: PTH113


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116
    return status.st_dev, status.st_ino
