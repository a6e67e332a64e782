"""SUN397, first partition: 397 kinds of scenes."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import text_lines
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import file_rows
from sslbench.errors import DataError
from sslbench.sources import Source

SPEC = DatasetSpec(
    name="sun397",
    loader="sslbench.datasets.published.sun397:load",
    num_classes=397,
    summary="397 kinds of scenes",
    licence="none stated",
    origin="https://vision.princeton.edu/projects/2010/SUN/ (images gone)",
    markers=("download",),
    folder="sun397",
    sources=(
        Source(
            "SUN397.tar.gz",
            md5="8ca2778205c41d23104230ba66911c7a",
            size=39_077_296_924,
            unpack=".",
            manual="The official host of SUN397.tar.gz is gone: get OpenDataLab/SUN397 (raw) from "
            "https://opendatalab.com/OpenDataLab/SUN397 and extract it in sun397, so that "
            "sun397/SUN397/a/abbey/sun_*.jpg and sun397/SUN397/ClassName.txt are there. Copies with other splits or "
            "resized images (Hugging Face) will not do.",
        ),
        Source(
            "Partitions.zip",
            (
                "https://vision.princeton.edu/projects/2010/SUN/download/Partitions.zip",
                "https://3dvision.princeton.edu/projects/2010/SUN/download/Partitions.zip",
            ),
            sha256="e3311ea5f812d4cc6faef194688343d1111f6cd6f70f2c62f393c2b8d6ba1ec9",
            size=18_293_705,
            unpack=".",
            manual="Partitions.zip: from a copy of the SUN397 page; extract Training_01.txt and Testing_01.txt in sun397.",
        ),
    ),
    layouts=(
        *layouts(
            {"torchvision": "sun397"},
            images="SUN397",
            classes="SUN397/ClassName.txt",
            train="Training_01.txt",
            test="Testing_01.txt",
        ),
        *layouts(
            {"official": ("SUN397", "sun397/SUN397")},
            images=".",
            classes="ClassName.txt",
            train="Training_01.txt",
            test="Testing_01.txt",
        ),
    ),
    expected=Expected(397, {"train": 19_850, "test": 19_850}, {"train": 50, "test": 50}),
    citation="Xiao et al., SUN database: large-scale scene recognition from abbey to zoo, CVPR 2010",
)


def load(settings: Settings) -> Dataset:
    """Training_01 and Testing_01 in file order; validation is drawn from the former."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """Classes are the lines of ClassName.txt without their `/a/`, sorted (torchvision keeps the file's order)."""
    classes = tuple(sorted(line[3:] for line in text_lines(found.path("classes"))))
    # The folder alone decides, so that 397 folders are looked up instead of 39,700 images.
    label: dict[str, int] = {}
    splits = {}
    for split in ("train", "test"):
        lines = text_lines(found.path(split))
        targets = []
        for line in lines:
            folder = line.rpartition("/")[0]
            if folder not in label:
                label[folder] = _label(folder, classes)
            targets.append(label[folder])
        splits[split] = file_rows(found.path("images"), [line.lstrip("/") for line in lines], targets, found.disk)
    return Listing(classes, splits)


def _label(folder: str, classes: tuple[str, ...]) -> int:
    """The first class whose `/CLASS/` occurs in the path, as in the official code."""
    for number, name in enumerate(classes):
        if f"/{name}/" in f"{folder}/":
            return number
    raise DataError(f"no class of ClassName.txt occurs in {folder}; fetch ClassName.txt and the partitions again")
