"""What the values or colours in mask files mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sslbench.datasets.decoding import DAMAGE
from sslbench.datasets.families._mask_ignore import Ignore
from sslbench.datasets.families._mask_table import ClassTable
from sslbench.datasets.picture_warnings import attributed
from sslbench.errors import DataError

# PIL's modes of files that hold class numbers (palettes by their indices), and of those that hold colours.
NUMBERS = frozenset({"1", "L", "P", "I", "I;16", "I;16B", "I;16L"})
COLOURS = frozenset({"RGB", "RGBA"})
# Others, such as JPEG, change values at the borders of classes.
LOSSLESS = frozenset({"PNG", "BMP", "TIFF", "GIF", "PPM", "TGA"})
# Usual for masks of numbers.
_IGNORED_VALUE = 255


@dataclass(frozen=True)
class Coding:
    """From values in a file, or colours packed into a number, to class numbers.

    classes: names of those that count. codes: sorted, those of the classes and of what is ignored. numbers: what each becomes.
    ignore: the number of what is ignored, None where nothing is. coloured: whether the files hold colours.
    """

    classes: tuple[str, ...]
    codes: tuple[int, ...]
    numbers: tuple[int, ...]
    ignore: int | None
    coloured: bool

    def read(self, path: Path) -> npt.NDArray[Any]:
        """(H, W) class numbers of one file, uint8, or int32 for more than 255 classes. Raises DataError for other values."""
        found = read_codes(path, self.coloured)
        numbers: npt.NDArray[Any]
        if found.dtype.itemsize <= 2:
            # Looked up once for every value that there can be, and not for every pixel.
            every, is_known = self._meaning(np.arange(256**found.dtype.itemsize))
            numbers, known = every[found], is_known[found]
        else:
            numbers, known = self._meaning(found)
        odd = found[~known]
        if odd.size:
            first = int(odd.ravel()[0])
            what = f"colour {_as_colour(first)}" if self.coloured else f"value {first}"
            out = "ignore=#rrggbb" if self.coloured else "ignore=NUMBER"
            raise DataError(
                f"{path}: {odd.size} pixels have the {what}, which no class has; correct the mask or the table of "
                f"classes, or leave the {what.split()[0]} out with {out}"
            )
        return numbers

    def _meaning(self, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """The number of each value, and whether it has one."""
        codes = np.array(self.codes)
        place = np.minimum(np.searchsorted(codes, values), len(codes) - 1)
        kind = np.uint8 if len(self.classes) <= 255 else np.int32
        return np.array(self.numbers, dtype=kind)[place], codes[place] == values


def coding_of(name: str, coloured: bool, table: ClassTable | None, ignore: Ignore, masks: Sequence[Path]) -> Coding:
    """What the masks of a dataset mean. Without a table of classes, masks of numbers are all read for the largest number.

    What is ignored is no class: those above move down by one. Raises DataError for colours without a table, an `ignore` of
    the other sort, and fewer than two classes.
    """
    if coloured and not (table and table.colours):
        where = f"{table.path} names no colours" if table else "there is no table of their classes"
        raise DataError(
            f"{name}: the masks hold colours and {where}; add a classes.txt with lines NAME R G B, or save the masks as PNG with "
            "class numbers"
        )
    if ignore.value is not None if coloured else ignore.colour:
        has, wanted = ("colours", "ignore=#rrggbb") if coloured else ("numbers", "ignore=NUMBER")
        raise DataError(f"{name}: the masks hold {has}, of which one is left out by {wanted}")
    if coloured and table:
        codes = [_packed(colour) for colour in table.colours]
        names: Sequence[str] = table.names
        out = _packed(ignore.colour) if ignore.colour else None
    else:
        out = ignore.value
        if not ignore.given and (table is None or len(table.names) <= _IGNORED_VALUE):
            out = _IGNORED_VALUE
        names = table.names if table else [str(number) for number in range(_largest(name, masks, out) + 1)]
        codes = list(range(len(names)))
    kept = [(code, of_class) for code, of_class in zip(codes, names, strict=True) if code != out]
    if len(kept) < 2:
        raise DataError(
            f"{name}: {len(kept)} classes beside what is ignored; at least two are needed. Masks of 0 and 255 have to be written "
            "as 0 and 1, since 255 is ignored"
        )
    meaning = {code: number for number, (code, _) in enumerate(kept)}
    stands_for = None if out is None else 255 if len(kept) <= 255 else -1
    if out is not None and stands_for is not None:
        meaning[out] = stands_for
    pairs = sorted(meaning.items())
    return Coding(
        classes=tuple(of_class for _, of_class in kept),
        codes=tuple(code for code, _ in pairs),
        numbers=tuple(number for _, number in pairs),
        ignore=stands_for,
        coloured=coloured,
    )


def read_codes(path: Path, coloured: bool) -> npt.NDArray[Any]:
    """(H, W) values of a file as integers, its colours packed. Raises DataError for one that cannot be decoded."""
    try:
        with attributed(path), Image.open(path) as image:
            values: npt.NDArray[Any] = np.asarray(image.convert("RGB") if coloured else image)
    except DAMAGE as error:
        raise DataError(f"cannot read the mask {path}: {error}; replace or remove it") from error
    if coloured:
        values = values @ np.array([1 << 16, 1 << 8, 1])
    return values.astype(np.uint8) if values.dtype == bool else values


def _largest(name: str, masks: Sequence[Path], ignored: int | None) -> int:
    largest = -1
    for path in masks:
        values = read_codes(path, coloured=False)
        counted = values[values != ignored] if ignored is not None else values
        largest = max(largest, int(counted.max()) if counted.size else -1)
        if largest > _IGNORED_VALUE:
            raise DataError(
                f"{name}: {path} has the value {largest}; name so many classes in a classes.txt, one a line"
            )
    return largest


def _packed(colour: tuple[int, int, int]) -> int:
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def _as_colour(code: int) -> str:
    return f"({code >> 16}, {code >> 8 & 255}, {code & 255})"
