"""Datasets that are named by where they lie, `SCHEME:PATH`, with options behind a `?`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sslbench.config import Settings, expand
from sslbench.datasets.dataset import DatasetSpec
from sslbench.datasets.targets import Targets
from sslbench.errors import DataError
from sslbench.files import is_there
from sslbench.registry import Registry


@dataclass(frozen=True)
class Family:
    """A layout of users' folders.

    scheme: what stands before the colon. declare: from the whole name to the declaration; nothing is read, but an option that
    cannot be is told. options: names of those that may follow the path.
    """

    scheme: str
    targets: type[Targets]
    summary: str
    declare: Callable[[str], DatasetSpec]
    options: tuple[str, ...] = ()


FAMILIES: Registry[Family] = Registry("kind of folder", clash=DataError)


def register_family(family: Family) -> Family:
    """Make `SCHEME:PATH` known. Raises DataError when another family has the scheme."""
    return FAMILIES.add(family.scheme, family)


def family_of(name: str) -> Family | None:
    """The family that a dataset's name belongs to, if it belongs to one."""
    scheme, colon, _ = name.partition(":")
    return FAMILIES[scheme] if colon and scheme in FAMILIES else None


def parse_name(name: str, options: Iterable[str], places: Iterable[Path] = (Path(),)) -> tuple[str, dict[str, str]]:
    """The path of `SCHEME:PATH?option=value&option=value`, as it was given, and the options.

    places: directories that a relative path is looked for from. A `?` that starts no option belongs to the path, and so does
    one that an existing folder has in its name. Raises DataError for an option that is given twice.
    """
    text = name.partition(":")[2]
    path, mark, query = text.rpartition("?")
    pairs = [part.partition("=")[::2] for part in query.split("&")]
    if not mark or any(key not in options for key, _ in pairs):
        return text, {}
    if any(is_there(at := place / expand(text)) and at.is_dir() for place in places):
        return text, {}
    if twice := next((key for key, count in Counter(key for key, _ in pairs).items() if count > 1), None):
        raise DataError(f"{name}: the option {twice} is given more than once")
    return path, dict(pairs)


def find_root(name: str, path: str, settings: Settings, expected: str) -> Path:
    """The folder of a name: from the current directory, otherwise below the data directory.

    Raises DataError, with what is `expected` in it, where there is none.
    """
    given = expand(path)
    places = [given, settings.data_dir / given]
    for place in places:
        if is_there(place) and place.is_dir():
            return place
    looked = " or ".join(dict.fromkeys(str(place.absolute()) for place in places))
    raise DataError(f"{name}: there is no folder {looked}; {expected}. The data directory is set by --sslbench-data")


def tidy_folder(name: str) -> str:
    """The same name without a slash at the end of the path, so that one folder is one dataset."""
    scheme, _, text = name.partition(":")
    path, _ = parse_name(name, FAMILIES[scheme].options)
    return f"{scheme}:{path.rstrip('/') or path}{text[len(path) :]}"
