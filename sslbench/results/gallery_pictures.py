"""The test pictures that a record was scored on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslbench.config import Settings, default_data_dir
from sslbench.datasets import Dataset, load_dataset
from sslbench.errors import RecordError, UnknownNameError
from sslbench.results.record import Record

if TYPE_CHECKING:
    from PIL.Image import Image


def tested_dataset(record: Record, data_dir: Path | None) -> Dataset:
    """The dataset that a record was scored on. Raises RecordError where what lies here is not it."""
    task: dict[str, Any] = record.task
    # What a loose run took is refused by a strict check, and the fingerprint tells whether it is the same.
    check = "strict" if task.get("details", {}).get("complete", True) else "loose"
    settings = Settings(data_dir=data_dir or default_data_dir(), check_data=check, compat=task.get("compat", {}))
    try:
        dataset = load_dataset(task["dataset"], settings)
    except UnknownNameError as error:
        raise RecordError(
            f"{record.case}: the pictures of {task['dataset']!r} cannot be shown: {error}. What a conftest.py registers is known "
            "to pytest alone; register it and call sslbench.results.gallery.write_gallery"
        ) from error
    if dataset.fingerprint != task["fingerprint"]:
        raise RecordError(
            f"{record.case} was scored on {task['dataset']} with fingerprint {task['fingerprint']}, but the data here have "
            f"{dataset.fingerprint}; name the directory of those data (--data), or run the case again on these"
        )
    return dataset


def tested_pictures(record: Record, rows: NDArray[np.int64], data_dir: Path | None) -> Callable[[int], Image]:
    """From a row of the test split of the record's dataset to its picture. rows: those that may be asked for.

    Raises RecordError where they are not those that were scored; what is returned does where a picture cannot be read.
    """
    return pictures_of(record, tested_dataset(record, data_dir), rows)


def pictures_of(
    record: Record, dataset: Dataset, rows: NDArray[np.int64], split: str = "test"
) -> Callable[[int], Image]:
    """As `tested_pictures`, of a dataset that is loaded, and of any of its splits."""
    images = dataset.splits[split].images
    if not 0 <= rows.min(initial=0) <= rows.max(initial=0) < len(images):
        raise RecordError(
            f"{record.case}: its samples tell of rows {rows.min()} to {rows.max()}, but the {split} split has {len(images)}; "
            "run the case again"
        )

    def load(row: int) -> Image:
        from PIL import Image

        loaded: Any = images.load([row])[0]
        if loaded is None:
            raise RecordError(f"the picture of {split} row {row} cannot be read any more")
        return Image.fromarray(loaded) if isinstance(loaded, np.ndarray) else loaded

    return load
