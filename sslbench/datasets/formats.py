"""Readers of the file formats that datasets state their splits and labels in."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslbench.datasets.published.layout import Disk
from sslbench.errors import DataError, IncompleteDataError

# What torchvision's ImageFolder takes for an image; it knows no GIF.
IMAGE_FOLDER = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})


AGAIN = "fetch or extract it again"


def text_lines(path: Path, remedy: str = AGAIN) -> list[str]:
    """Stripped lines without the blank ones, whatever the line ends. Raises DataError for what is no UTF-8 text."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; {remedy}") from error
    return [stripped for line in lines if (stripped := line.strip())]


def columns(path: Path, names: str, remedy: str = AGAIN) -> list[list[str]]:
    """Lines cut at white space into as many columns as `names` has words; the last one keeps its spaces.

    remedy: what to do about a file that is not as expected. Raises DataError that names a line with fewer.
    """
    count = len(names.split())
    rows = [line.split(maxsplit=count - 1) for line in text_lines(path, remedy)]
    for number, row in enumerate(rows, 1):
        if len(row) != count:
            raise DataError(f"{path}: row {number}: expected {names!r}, got {' '.join(row)!r}; {remedy}")
    return rows


def csv_rows(path: Path, width: int) -> list[list[str]]:
    """Rows of a CSV file below its header. Raises DataError that names a row with fewer than `width` columns."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row][1:]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}; fetch or extract it again") from error
    for number, row in enumerate(rows, 2):
        if len(row) < width:
            raise DataError(f"{path}: row {number}: expected at least {width} columns, got {row}; fetch it again")
    return rows


def json_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises DataError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}; fetch or extract it again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got a {type(value).__name__}; fetch or extract it again")
    return value


def mat_arrays(path: Path, *names: str) -> list[npt.NDArray[Any]]:
    """Arrays of a MATLAB file, at least 2-D as MATLAB has them. Raises DataError for a bad file or an absent name."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path)
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise DataError(f"cannot read {path}: {error}; fetch or extract it again") from error
    absent = [name for name in names if name not in content]
    if absent:
        known = ", ".join(name for name in content if not name.startswith("__"))
        raise DataError(f"{path}: expected {', '.join(absent)}, found {known}; fetch or extract it again")
    return [np.asarray(content[name]) for name in names]


def image_folder(root: Path, disk: Disk) -> tuple[tuple[str, ...], list[str], npt.NDArray[np.int64]]:
    """Classes, files `CLASS/FILE` and targets of a directory with one sub-directory a class, sorted by name.

    This is the order of torchvision's ImageFolder. Names that start with a dot are other systems' metadata. Raises
    IncompleteDataError for a class without an image.
    """
    classes = class_folders(root)
    files: list[str] = []
    targets: list[int] = []
    for label, name in enumerate(classes):
        images = sorted(
            file
            for file in disk.files(f"{root}/{name}")
            if file[0] != "." and f".{file.rpartition('.')[2].lower()}" in IMAGE_FOLDER
        )
        if not images:
            raise IncompleteDataError(f"{root / name} holds no image", [name], found=True)
        files += [f"{name}/{file}" for file in images]
        targets += [label] * len(images)
    return classes, files, np.array(targets, dtype=np.int64)


def class_folders(root: Path) -> tuple[str, ...]:
    """Names of the sub-directories, sorted."""
    with os.scandir(root) as entries:
        return tuple(sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir()))
