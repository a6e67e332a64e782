"""FGVC-Aircraft 2013b: 100 variants of aircraft."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import columns
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import file_rows
from sslbench.sources import Source

SPLITS = ("train", "val", "test")
SPEC = DatasetSpec(
    name="aircraft",
    loader="sslbench.datasets.published.aircraft:load",
    num_classes=100,
    summary="100 variants of aircraft",
    licence="non-commercial research",
    origin="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    metric="mean_per_class",
    markers=("download",),
    folder="aircraft",
    sources=(
        Source(
            "fgvc-aircraft-2013b.tar.gz",
            ("https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",),
            sha256="e4e323d410e29f0370c81eabdcbb0e2b813acea1de22891b70b58ff41bfc9834",
            size=2_753_340_328,
            unpack=".",
        ),
    ),
    layouts=layouts(
        {
            "torchvision": ("aircraft/fgvc-aircraft-2013b/data", "fgvc-aircraft-2013b/data"),
            "official": "Aircraft/data",
        },
        images="images",
        **{split: f"images_variant_{split}.txt" for split in SPLITS},
    ),
    expected=Expected(100, {"train": 3334, "val": 3333, "test": 3333}),
    compat=("fewshot-pool",),
    citation="Maji et al., Fine-grained visual classification of aircraft, arXiv 1306.5151, 2013",
)


def load(settings: Settings) -> Dataset:
    """Official train, val and test; the copyright banner below each picture stays, as in the official code."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """Lines `ID VARIANT`; a variant's name may hold spaces."""
    lists = {split: columns(found.path(split), "ID VARIANT") for split in SPLITS}
    classes = tuple(sorted({variant for rows in lists.values() for _, variant in rows}))
    label = {name: number for number, name in enumerate(classes)}
    images = found.path("images")
    return Listing(
        classes,
        {
            split: file_rows(
                images,
                [f"{image}.jpg" for image, _ in rows],
                [label[variant] for _, variant in rows],
                found.disk,
                ids=[image for image, _ in rows],
            )
            for split, rows in lists.items()
        },
    )
