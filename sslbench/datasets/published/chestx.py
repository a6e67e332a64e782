"""ChestX-ray8, the seven classes of the cross-domain few-shot benchmark, for few-shot only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import csv_rows
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import file_rows
from sslbench.sources import Source

if TYPE_CHECKING:
    from PIL import Image

CLASSES = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumothorax")
SPEC = DatasetSpec(
    name="chestx",
    loader="sslbench.datasets.published.chestx:load",
    num_classes=7,
    summary="seven findings in X-ray pictures of the chest",
    licence="CC0",
    origin="https://www.kaggle.com/datasets/nih-chest-xrays/data",
    protocols=("fewshot", "inversion", "occlusion"),
    markers=("download",),
    folder="ChestX",
    sources=(
        Source(
            "data.zip",
            unpack=".",
            manual="Download https://www.kaggle.com/datasets/nih-chest-xrays/data (45 GB, needs an account) and extract it in "
            "ChestX, so that ChestX/Data_Entry_2017.csv and ChestX/images_001/images/*.png to images_012 are there; all "
            "images in one folder ChestX/images will do as well.",
        ),
    ),
    layouts=tuple(
        layout
        for labels in ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
        for name, images in (("official", "images"), ("kaggle", "images_*/images"))
        for layout in layouts({name: ("ChestX", "chestx")}, images=images, labels=labels)
    ),
    # The counts of the classes add up to 25,848; the benchmark's paper says 25,847.
    expected=Expected(7, {"all": (25_848, 25_847)}),
    citation="Wang et al., ChestX-ray8, CVPR 2017; "
    "Guo et al., A broader study of cross-domain few-shot learning, ECCV 2020",
)


def load(settings: Settings) -> Dataset:
    """Images with exactly one of seven findings as one split, in the order of the table."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """The table is read by position, image and findings joined by `|`: the brackets of its header hold commas."""
    table = found.path("labels")
    rows = [(row[0], row[1]) for row in csv_rows(table, 2)]
    kept = [(name, CLASSES.index(findings)) for name, findings in rows if findings in CLASSES]
    folders = {folder.relative_to(found.base).as_posix(): folder for folder in found.paths("images")}
    place = {image: name for name, folder in folders.items() for image in found.disk.files(folder)}
    images = [image for image, _ in kept]
    # An image that is nowhere is looked for, and missed, in the first folder.
    files = [f"{place.get(image, next(iter(folders)))}/{image}" for image in images]
    listed = file_rows(found.base, files, [label for _, label in kept], found.disk, ids=images)
    return Listing(CLASSES, {"all": listed.prepared(shrink, "shrunk to 256")}, {"labels": table.name})


def shrink(image: Image.Image) -> Image.Image:
    """To 256x256 in the file's own mode, before it becomes RGB, as the official code does (Pillow 7: bicubic)."""
    from PIL.Image import Resampling

    return image.resize((256, 256), Resampling.BICUBIC)
