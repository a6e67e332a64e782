"""From a declaration and files on disk to a Dataset: layouts tried, rows checked, validation drawn; no picture opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec, Split
from sslbench.datasets.published.facts import Expected, statement
from sslbench.datasets.published.layout import Found
from sslbench.datasets.published.rows import Rows
from sslbench.datasets.splits import study_validation
from sslbench.errors import IncompleteDataError

NAMED = 5


@dataclass(frozen=True)
class Draw:
    """How validation is taken from the official train. train, val: sorted rows of it. told: how they were drawn."""

    train: npt.NDArray[np.int64]
    val: npt.NDArray[np.int64]
    told: str


@dataclass(frozen=True)
class Listing:
    """What a reader found: classes, and the official splits `train`, `test` and perhaps `val`, or the single `all`.

    differs: what it found that is not as published, beside what the declaration expects. draw: of val, where the study's is not
    to be taken.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Rows]
    details: Mapping[str, Any] = field(default_factory=dict)
    differs: tuple[str, ...] = ()
    draw: Draw | None = None


Reader = Callable[[Found, Settings], Listing]


def open_dataset(spec: DatasetSpec, settings: Settings, read: Reader, expected: Expected | None = None) -> Dataset:
    """Read the first layout that is complete and check it against what is published.

    expected: replaces the declaration's, where a compat switch changes what is expected. Without a split `val`, the
    listing's draw, or else the study's, takes it from `train`. Raises IncompleteDataError for what is not there or, unless
    `check_data` is `loose`, not as published; with `loose` the details name the differences. Raises DataError for a file that
    cannot be read.
    """
    found, listing, differs = _first_complete(spec, settings, read, expected or spec.expected)
    splits, val = dict(listing.splits), "official"
    if "val" not in splits and "train" in splits:
        draw = listing.draw or _study_draw(len(splits["train"].targets))
        splits = {
            "train": splits["train"].take(draw.train),
            "val": splits["train"].take(draw.val),
            "test": splits["test"],
        }
        val = draw.told
    details = {
        "layout": f"{found.layout.name} ({found.layout.base})",
        **({"val": val} if "val" in splits else {}),
        **listing.details,
        "complete": not differs,
        "fingerprint": {
            **{name: statement(rows, len(listing.classes)) for name, rows in listing.splits.items()},
            **({"differs": differs} if differs else {}),
        },
    }
    return Dataset(
        name=spec.name,
        classes=listing.classes,
        splits={
            name: Split(name, rows.images(spec.name, settings.bad_images), rows.targets)
            for name, rows in splits.items()
        },
        metric=spec.metric,
        pool=_pool(spec, settings, splits),
        details=details,
    )


def _study_draw(size: int) -> Draw:
    train, val = (np.sort(rows) for rows in study_validation(size))
    return Draw(train, val, f"first fifth of {size} train rows, shuffled with seed 0")


def _pool(spec: DatasetSpec, settings: Settings, splits: Mapping[str, Rows]) -> tuple[str, ...]:
    if "all" in splits:
        return ("all",)
    if "fewshot-pool" in spec.compat and settings.choice("fewshot-pool") == "without-val":
        return ("train", "test")
    return ("train", "val", "test")


def _first_complete(
    spec: DatasetSpec, settings: Settings, read: Reader, expected: Expected | None
) -> tuple[Found, Listing, list[str]]:
    problems: list[tuple[tuple[int, int], IncompleteDataError]] = []
    for layout in spec.layouts:
        found = Found(layout, settings.data_dir)
        absent = found.absent
        if len(absent) == len(layout.parts):
            continue
        if absent:
            told = f"{found.base} lacks {few(absent)} (layout {layout.name})"
            problems.append(((1, len(absent)), IncompleteDataError(told, absent, found=True)))
            continue
        try:
            listing = read(found, settings)
            _check_files(found, listing)
            differs = list(listing.differs)
            differs += expected.differences(listing.classes, listing.splits, found) if expected else []
            if differs and settings.check_data == "strict":
                raise IncompleteDataError(
                    f"the files in {found.base} are not the published ones: {few(differs, '; ')}; to run on what is there, "
                    "without published references, give --sslbench-check-data loose",
                    differs[:NAMED],
                    found=True,
                )
        except IncompleteDataError as error:
            problems.append(((0, error.count), error))
            continue
        return found, listing, differs
    if problems:
        # The layout that is nearest to complete is most likely the one meant.
        nearest = min(problems, key=lambda problem: problem[0])[1]
        raise IncompleteDataError(f"{spec.name}: {nearest}. {spec.how_to_get()}", nearest.missing, found=True)
    places = ", ".join(dict.fromkeys(layout.base for layout in spec.layouts))
    raise IncompleteDataError(
        f"{spec.name}: no files in {settings.data_dir.absolute()}, where one of {places} was expected; the data directory "
        f"is set by --sslbench-data. {spec.how_to_get()}"
    )


def _check_files(found: Found, listing: Listing) -> None:
    for name, rows in listing.splits.items():
        if missing := rows.missing:
            raise IncompleteDataError(
                f"{len(missing)} of the {len(rows.targets)} images of {name} are absent or empty in {found.base}: "
                f"{few(missing)}; the archive may be extracted incompletely",
                missing[:NAMED],
                count=len(missing),
                found=True,
            )
        if not len(rows.targets):
            raise IncompleteDataError(f"{found.base} holds no image of {name}", found=True)


def few(names: Sequence[str], separator: str = ", ") -> str:
    """Some of the names and the number of the others, for a message."""
    more = len(names) - NAMED
    return separator.join(names[:NAMED]) + (f"{separator}and {more} more" if more > 0 else "")
