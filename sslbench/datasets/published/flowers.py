"""Oxford Flowers: 102 kinds of flowers."""

from __future__ import annotations

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

_URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
_LABELS, _SPLITS = "e0620be6f572b9609742df49c70aed4d", "a5357ecc9cb78c4bef273ce3793fc85c"
SPEC = DatasetSpec(
    name="flowers",
    loader="sslbench.datasets.published.flowers:load",
    num_classes=102,
    summary="102 kinds of flowers",
    licence="none stated",
    origin="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    metric="mean_per_class",
    markers=("download",),
    folder="flowers-102",
    sources=(
        Source(
            "102flowers.tgz",
            (_URL + "102flowers.tgz",),
            md5="52808999861908f626f3c1f4e79d11fa",
            size=344_862_509,
            unpack=".",
        ),
        Source(
            "imagelabels.mat",
            (_URL + "imagelabels.mat",),
            md5=_LABELS,
            size=502,
        ),
        Source(
            "setid.mat",
            (_URL + "setid.mat",),
            md5=_SPLITS,
            size=14_989,
        ),
    ),
    layouts=layouts(
        {"torchvision": "flowers-102", "official": "Flowers"},
        images="jpg",
        labels="imagelabels.mat",
        splits="setid.mat",
    ),
    expected=Expected(
        102,
        {"train": 1020, "val": 1020, "test": 6149},
        {"train": 10, "val": 10},
        md5={"labels": _LABELS, "splits": _SPLITS},
    ),
    compat=("fewshot-pool",),
    citation="Nilsback and Zisserman, Automated flower classification over a large number of classes, ICVGIP 2008",
)


def load(settings: Settings) -> Dataset:
    """Train and val of ten images a class each, and a test split six times as large."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """Image numbers and labels count from 1; the archive names no class, so that a class is named by its number."""
    (labels,) = mat_arrays(found.path("labels"), "labels")
    splits = mat_arrays(found.path("splits"), "trnid", "valid", "tstid")
    labels = labels.ravel().astype(np.int64) - 1
    classes = tuple(str(number) for number in range(1, int(labels.max(initial=-1)) + 2))
    images = found.path("images")
    rows = {}
    for name, numbers in zip(("train", "val", "test"), (part.ravel().astype(int) for part in splits), strict=True):
        if numbers.size and (numbers.min() < 1 or numbers.max() > len(labels)):
            raise DataError(
                f"{found.path('splits')} names images up to {numbers.max()}, but imagelabels.mat labels {len(labels)}; "
                "fetch both again"
            )
        files = [f"image_{number:05d}.jpg" for number in numbers]
        rows[name] = file_rows(images, files, labels[numbers - 1], found.disk)
    return Listing(classes, rows)
