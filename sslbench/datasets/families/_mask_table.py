"""The file that names the classes of masks, perhaps with their colours."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sslbench.datasets.formats import text_lines
from sslbench.errors import DataError

T = TypeVar("T", str, tuple[int, int, int])
Colour = tuple[int, int, int]
FILES = {"classes.txt": "NAME or NAME R G B", "class_dict.csv": "NAME,R,G,B", "label_colors.txt": "R G B NAME"}


@dataclass(frozen=True)
class ClassTable:
    """Names in the order of the class numbers, and red, green and blue of each, or no colours at all."""

    path: Path
    names: tuple[str, ...]
    colours: tuple[Colour, ...] = ()


def read_table(root: Path) -> ClassTable | None:
    """The table of a folder, None where it has none.

    Raises DataError for two tables, a line that does not fit, and names or colours that are there twice.
    """
    there = [root / file for file in FILES if (root / file).is_file()]
    if not there:
        return None
    if len(there) > 1:
        raise DataError(f"{root}: {' and '.join(path.name for path in there)} name the classes; keep one of them")
    path = there[0]
    lines = text_lines(path, "correct it")
    rows = [_cut(path.name, line) for line in lines]
    if path.name == "class_dict.csv" and rows and not any(map(str.isdecimal, rows[0][1:])):
        lines, rows = lines[1:], rows[1:]
    if path.name == "classes.txt" and not any(_is_coloured(row) for row in rows):
        return ClassTable(path, _unlike(path, "name", lines))
    for line, row in zip(lines, rows, strict=True):
        if not _is_coloured(row):
            raise DataError(f"{path}: expected {FILES[path.name]} with colours from 0 to 255, got {line!r}; correct it")
    names = _unlike(path, "name", [row[0] for row in rows])
    colours = [(int(red), int(green), int(blue)) for _, red, green, blue in rows]
    return ClassTable(path, names, _unlike(path, "colour", colours))


def _cut(file: str, line: str) -> list[str]:
    """Name, red, green and blue, as far as they are there."""
    if file == "class_dict.csv":
        return [cell.strip() for cell in next(csv.reader([line]))]
    if file == "label_colors.txt":
        *colour, name = line.split(maxsplit=3)
        return [name, *colour]
    return line.rsplit(maxsplit=3)


def _is_coloured(row: Sequence[str]) -> bool:
    return len(row) == 4 and bool(row[0]) and all(cell.isdecimal() and int(cell) < 256 for cell in row[1:])


def _unlike(path: Path, what: str, values: Sequence[T]) -> tuple[T, ...]:
    if not values:
        raise DataError(f"{path}: no class; expected a line {FILES[path.name]} for each")
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise DataError(f"{path}: the {what} {twice[0]} is there twice; correct it")
    return tuple(values)
