"""Oxford-IIIT Pet: 37 breeds of cats and dogs."""

from __future__ import annotations

import numpy as np

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import columns
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import file_rows
from sslbench.errors import DataError
from sslbench.sources import Source

_URL = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
SPEC = DatasetSpec(
    name="pets",
    loader="sslbench.datasets.published.pets:load",
    num_classes=37,
    summary="37 breeds of cats and dogs",
    licence="CC BY-SA 4.0",
    origin="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    metric="mean_per_class",
    markers=("download",),
    folder="oxford-iiit-pet",
    sources=(
        Source(
            "images.tar.gz",
            (_URL + "images.tar.gz",),
            md5="5c4f3ee8e5d25df40f4fd59a7f44e54c",
            size=791_918_971,
            unpack=".",
        ),
        Source(
            "annotations.tar.gz",
            (_URL + "annotations.tar.gz",),
            md5="95a8c909bbe2e81eed6a22bccdf3f68f",
            size=19_173_078,
            unpack=".",
        ),
    ),
    layouts=layouts(
        {"torchvision": "oxford-iiit-pet", "official": "Pets"},
        images="images",
        train="annotations/trainval.txt",
        test="annotations/test.txt",
    ),
    expected=Expected(37, {"train": 3680, "test": 3669}),
    citation="Parkhi et al., Cats and dogs, CVPR 2012",
)


def load(settings: Settings) -> Dataset:
    """trainval.txt is train, from which validation is drawn."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """Lines `Abyssinian_100 1 1 1`: image, class from 1, species, breed of the species. Some .jpg are other formats."""
    names: dict[int, str] = {}
    splits = {}
    for split in ("train", "test"):
        rows = columns(found.path(split), "IMAGE CLASS SPECIES BREED")
        try:
            numbers = [int(number) for _, number, *_ in rows]
        except ValueError as error:
            raise DataError(
                f"{found.path(split)}: expected class numbers, {error}; extract the annotations again"
            ) from error
        for (image, *_), number in zip(rows, numbers, strict=True):
            breed = image.rpartition("_")[0]
            if names.setdefault(number, breed) != breed:
                raise DataError(
                    f"{found.path(split)} gives {image} the class {number}, which {names[number]} has; extract the "
                    "annotations again"
                )
        splits[split] = file_rows(
            found.path("images"), [f"{image}.jpg" for image, *_ in rows], np.array(numbers, dtype=np.int64) - 1, found.disk,
            ids=[image for image, *_ in rows],
        )  # fmt: skip
    classes = tuple(names[number] for number in sorted(names))
    if sorted(names) != list(range(1, len(names) + 1)):
        raise DataError(f"{found.base}: expected classes counted from 1, found {sorted(names)}; extract it again")
    return Listing(classes, splits)
