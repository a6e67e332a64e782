"""The split lists of `voc:PATH`: which pictures their lines mean."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sslbench.datasets.families._files import few
from sslbench.datasets.families._folder_files import is_picture, suffix_of
from sslbench.errors import DataError
from sslbench.names import printable

LISTS = ("train", "val", "trainval", "test")
_PRESENCE = frozenset({"1", "0", "-1"})


@dataclass(frozen=True)
class Lists:
    """splits: stems of the pictures, as on disk. called: the lists' file names. renamed: in words, what differs in case."""

    splits: dict[str, list[str]]
    called: dict[str, str]
    renamed: list[str]


class Names:
    """Names on disk, found by what else they may be called."""

    def __init__(self, known: Collection[str]) -> None:
        self.known = known

    @cached_property
    def _folded(self) -> dict[str, list[str]]:
        folded: dict[str, list[str]] = {}
        for name in self.known:
            folded.setdefault(name.casefold(), []).append(name)
        return folded

    @cached_property
    def _flat(self) -> bool:
        return not any("/" in name for name in self.known)

    def exact(self, entry: str) -> str | None:
        """The name that an entry of a list means, which may have directories in front and a file's suffix."""
        if entry in self.known:
            return entry
        return next((spelling for spelling in _spellings(entry, flat=self._flat) if spelling in self.known), None)

    def in_another_case(self, entry: str) -> list[str]:
        """Those that an entry would mean if case did not count."""
        found = (self._folded.get(spelling.casefold(), []) for spelling in _spellings(entry, flat=self._flat))
        return next(filter(None, found), [])


def read_lists(name: str, root: Path, pictures: Mapping[str, Path]) -> Lists | None:
    """The splits that `ImageSets/Main` gives; None where a folder has no lists at all.

    Raises DataError for lists elsewhere below `ImageSets` or under other names, for a train set that is not clear, and for
    entries without a picture, with several, or listed twice.
    """
    folder = root / "ImageSets" / "Main"
    if not folder.is_dir():
        _refuse_lists_elsewhere(name, root / "ImageSets")
        return None
    names = Names(pictures)
    entries = {
        split: _entries(folder / f"{split}.txt", names) for split in LISTS if (folder / f"{split}.txt").is_file()
    }
    called = {split: f"{split}.txt" for split in entries}
    both = entries.pop("trainval", None)
    if both is not None and "train" not in entries:
        if "val" in entries:
            raise DataError(
                f"{name}: {folder} has trainval.txt and val.txt but no train.txt; add it, or remove val.txt"
            )
        entries, called = {"train": both, **entries}, {**called, "train": "trainval.txt"}
    if not entries:
        there = few([printable(path.name) for path in sorted(folder.iterdir())]) or "nothing"
        wanted = ", ".join(f"{split}.txt" for split in LISTS)
        raise DataError(f"{name}: {folder} has none of {wanted}, but {there}; add them or remove ImageSets")
    return _resolved(name, folder, names, entries, called)


def _resolved(name: str, folder: Path, names: Names, entries: Mapping[str, list[str]], called: dict[str, str]) -> Lists:
    splits: dict[str, list[str]] = {}
    absent, unclear, twice, renamed = list[str](), list[str](), list[str](), list[str]()
    seen: set[str] = set()
    for split, listed in entries.items():
        splits[split] = []
        for entry in listed:
            stem = names.exact(entry)
            if stem is None:
                near = names.in_another_case(entry)
                if len(near) != 1:
                    told = f"listed as {entry}, on disk {' and '.join(near)}" if near else f"{entry} ({called[split]})"
                    (unclear if near else absent).append(told)
                    continue
                stem = near[0]
                renamed.append(f"listed as {entry}, on disk {stem}")
            if stem in seen:
                twice.append(stem)
            seen.add(stem)
            splits[split].append(stem)
    refuse(name, f"names that {folder} lists twice", list(dict.fromkeys(twice)))
    refuse(name, "listed images that are not in JPEGImages", absent)
    refuse(name, "listed images of which several differ in case", unclear)
    return Lists(splits, called, renamed)


def refuse(name: str, what: str, names: Collection[str]) -> None:
    """Raise DataError with the number of what is wrong and some of it, where there is any."""
    if names:
        raise DataError(
            f"{name}: {len(names)} {what}: {printable(few(names))}; complete the folder or correct the lists"
        )


def _refuse_lists_elsewhere(name: str, folder: Path) -> None:
    found = sorted(path.relative_to(folder).as_posix() for depth in ("*.txt", "*/*.txt") for path in folder.glob(depth))
    if found:
        raise DataError(
            f"{name}: {folder} has no Main, but {printable(few(found))}; move the lists of the splits to ImageSets/Main, or "
            "remove ImageSets to have them drawn"
        )


def _entries(path: Path, names: Names) -> list[str]:
    """The names in a list, one a line. A second column that marks presence in every line is none of theirs."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; make it readable or remove it") from error
    if b"\0" in content:
        raise DataError(f"{path}: expected a name a line, got zero bytes, as in UTF-16; save it as UTF-8")
    # File names need not be UTF-8, and the list holds their bytes; editors on Windows put a mark in front.
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    columns = [line.rsplit(maxsplit=1) for line in lines]
    marked = all(len(row) == 2 and row[1] in _PRESENCE and len(row[0].split()) == 1 for row in columns)
    # `photo 1` and `photo 0` may be two pictures.
    if marked and not all(names.exact(line) for line in lines):
        return [row[0] for row in columns]
    return lines


def _spellings(entry: str, *, flat: bool) -> Iterator[str]:
    """What an entry may mean, the longest first. flat: directories in front may be left out, as no picture lies in one."""
    yield entry
    parts = [part for part in entry.replace("\\", "/").split("/") if part not in ("", ".")]
    if "JPEGImages" in parts[:-1]:
        parts = parts[len(parts) - parts[::-1].index("JPEGImages") :]
    for start in range(len(parts) if flat else min(1, len(parts))):
        tail = "/".join(parts[start:])
        yield tail
        suffix = suffix_of(tail)
        if suffix and (suffix == ".xml" or is_picture(tail)):
            yield tail[: tail.rindex(".")]
