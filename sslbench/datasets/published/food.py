"""Food-101: 101 dishes."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import json_object, text_lines
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import file_rows
from sslbench.errors import DataError
from sslbench.sources import Source

SPEC = DatasetSpec(
    name="food",
    loader="sslbench.datasets.published.food:load",
    num_classes=101,
    summary="101 dishes; training labels are noisy",
    licence="research",
    origin="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    markers=("download",),
    folder="food",
    sources=(
        Source(
            "food-101.tar.gz",
            ("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
            md5="85eeb15f3717b99a5da872d97d918f87",
            size=4_996_278_331,
            unpack=".",
        ),
    ),
    layouts=layouts(
        {"torchvision": ("food/food-101", "food-101"), "official": "Food/food-101"},
        images="images",
        classes="meta/classes.txt",
        train="meta/train.json",
        test="meta/test.json",
    ),
    expected=Expected(101, {"train": 75_750, "test": 25_250}, {"train": 750, "test": 250}),
    citation="Bossard, Guillaumin and Van Gool, Food-101: mining discriminative components with random forests, ECCV 2014",
)


def load(settings: Settings) -> Dataset:
    """Official train and test; validation is drawn from train."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """Classes in the order of classes.txt, within a class the order of the JSON list.

    torchvision goes by the order of the JSON's keys instead, which would give another validation split.
    """
    classes = tuple(text_lines(found.path("classes")))
    images = found.path("images")
    splits = {}
    for split in ("train", "test"):
        listed = json_object(found.path(split))
        if set(listed) != set(classes):
            odd = sorted(set(listed) ^ set(classes))
            raise DataError(
                f"{found.path(split)} and classes.txt name different classes: {', '.join(odd[:5])}; extract them again"
            )
        pairs = [(name, label) for label, kind in enumerate(classes) for name in listed[kind]]
        splits[split] = file_rows(
            images, [f"{name}.jpg" for name, _ in pairs], [label for _, label in pairs], found.disk,
            ids=[name for name, _ in pairs],
        )  # fmt: skip
    return Listing(classes, splits)
