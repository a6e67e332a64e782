"""Stanford Cars: 196 makes, models and years."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import mat_arrays
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import file_rows
from sslbench.errors import DataError
from sslbench.sources import Source

_IMAGES = (
    "The official host of the images is gone: download "
    "https://www.kaggle.com/datasets/jessicali9530/stanford-cars-dataset (needs an account) and extract it in "
    "stanford_cars, which gives cars_train/cars_train/*.jpg and cars_test/cars_test/*.jpg; or put copies of "
    "cars_train.tgz and cars_test.tgz there."
)
_DEVKIT = {"train_labels": "devkit/cars_train_annos.mat", "meta": "devkit/cars_meta.mat"}
_PLAIN = {"train": "cars_train", "test": "cars_test"}
_NESTED = {"train": "cars_train/cars_train", "test": "cars_test/cars_test"}
_BASES = ("stanford_cars", "Cars")
SPEC = DatasetSpec(
    name="cars",
    loader="sslbench.datasets.published.cars:load",
    num_classes=196,
    summary="196 makes, models and years of cars",
    licence="non-commercial research",
    origin="https://ai.stanford.edu/~jkrause/cars/car_dataset.html (gone)",
    markers=("download",),
    folder="stanford_cars",
    sources=(
        Source(
            "car_devkit.tgz",
            ("https://github.com/pytorch/vision/files/11644847/car_devkit.tgz",),
            md5="c3b158d763b6e2245038c8ad08e45376",
            size=330_960,
            unpack=".",
        ),
        Source(
            "cars_test_annos_withlabels.mat",
            manual="Save the file attached to https://github.com/pytorch/vision/issues/7545#issuecomment-1631441616 as "
            "stanford_cars/cars_test_annos_withlabels.mat.",
        ),
        Source(
            "cars_train.tgz",
            md5="065e5b463ae28d29e77c1b4b166cfe61",
            size=979_269_282,
            unpack=".",
            manual=_IMAGES,
        ),
        Source(
            "cars_test.tgz",
            md5="4ce7ebf6a94d07f1952d94dd34c4d501",
            size=977_350_468,
            unpack=".",
            manual=_IMAGES,
        ),
    ),
    layouts=(
        *layouts({"torchvision": _BASES}, **_PLAIN, **_DEVKIT, test_labels="cars_test_annos_withlabels.mat"),
        *layouts({"official": _BASES}, **_PLAIN, **_DEVKIT, test_labels="devkit/cars_test_annos_withlabels.mat"),
        *layouts({"kaggle": _BASES}, **_NESTED, **_DEVKIT, test_labels="cars_test_annos_withlabels.mat"),
        *layouts({"kaggle": _BASES}, **_NESTED, **_DEVKIT, test_labels="devkit/cars_test_annos_withlabels.mat"),
    ),
    expected=Expected(196, {"train": 8144, "test": 8041}),
    citation="Krause et al., 3D object representations for fine-grained categorization, 3dRR at ICCV 2013",
)


def load(settings: Settings) -> Dataset:
    """Official train and test in the order of the .mat files."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """Class names from cars_meta.mat; classes count from 1."""
    (names,) = mat_arrays(found.path("meta"), "class_names")
    classes = tuple(str(np.squeeze(name)) for name in names.ravel())
    splits = {}
    for split in ("train", "test"):
        rows = _annotations(found.path(f"{split}_labels"))
        splits[split] = file_rows(
            found.path(split), [file for file, _ in rows], [number - 1 for _, number in rows], found.disk,
            ids=[f"{split}/{file}" for file, _ in rows],
        )  # fmt: skip
        if any(not 1 <= number <= len(classes) for _, number in rows):
            raise DataError(
                f"{found.path(f'{split}_labels')}: expected classes from 1 to {len(classes)}; fetch it again"
            )
    return Listing(classes, splits)


def _annotations(path: Path) -> list[tuple[str, int]]:
    (table,) = mat_arrays(path, "annotations")
    fields = table.dtype.names or ()
    if not {"class", "fname"} <= set(fields):
        raise DataError(
            f"{path}: expected annotations with fields class and fname, found {', '.join(fields) or 'none'}. The "
            "devkit's cars_test_annos.mat has no classes: cars_test_annos_withlabels.mat is meant"
        )
    return [
        (str(np.squeeze(file)), int(np.squeeze(number)))
        for file, number in zip(table["fname"].ravel(), table["class"].ravel(), strict=True)
    ]
