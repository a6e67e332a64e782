"""Describable Textures, release 1.0.1, partition 1: 47 textures."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import class_folders, text_lines
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import file_rows
from sslbench.errors import IncompleteDataError
from sslbench.sources import Source

SPLITS = ("train", "val", "test")
SPEC = DatasetSpec(
    name="dtd",
    loader="sslbench.datasets.published.dtd:load",
    num_classes=47,
    summary="47 textures in the wild",
    licence="research",
    origin="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    markers=("download",),
    folder="dtd",
    sources=(
        Source(
            "dtd-r1.0.1.tar.gz",
            ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
            md5="fff73e5086ae6bdbea199a49dfb8a4c1",
            size=625_239_812,
            unpack=".",
        ),
    ),
    layouts=layouts(
        {"torchvision": "dtd/dtd", "official": ("DTD", "dtd")},
        images="images",
        **{split: f"labels/{split}1.txt" for split in SPLITS},
    ),
    expected=Expected(47, dict.fromkeys(SPLITS, 1880), dict.fromkeys(SPLITS, 40)),
    compat=("fewshot-pool",),
    citation="Cimpoi et al., Describing textures in the wild, CVPR 2014",
)


def load(settings: Settings) -> Dataset:
    """Train, val and test of the first of the ten partitions."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """Classes are the folders below images; lines of the lists are `CLASS/FILE`."""
    images = found.path("images")
    classes = class_folders(images)
    label = {name: number for number, name in enumerate(classes)}
    lists = {split: text_lines(found.path(split)) for split in SPLITS}
    unknown = sorted({image.partition("/")[0] for rows in lists.values() for image in rows} - set(classes))
    if unknown:
        raise IncompleteDataError(f"{images} lacks the class folders {', '.join(unknown[:5])}", unknown[:5], found=True)
    return Listing(
        classes,
        {
            split: file_rows(images, rows, [label[image.partition("/")[0]] for image in rows], found.disk)
            for split, rows in lists.items()
        },
    )
