"""ISIC 2018 task 3 (HAM10000): seven kinds of skin lesions, for few-shot only."""

from __future__ import annotations

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import csv_rows
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import file_rows
from sslbench.errors import DataError
from sslbench.sources import Source

CLASSES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_BUCKET = "https://isic-challenge-data.s3.amazonaws.com/2018/"
_LABELS = "ISIC2018_Task3_Training_GroundTruth"
_STEPS = (
    "Accept the terms on https://challenge.isic-archive.com/data/#2018, download the training data and ground truth of "
    f"task 3 ({_BUCKET}ISIC2018_Task3_Training_Input.zip, 2.6 GB, and {_BUCKET}{_LABELS}.zip), and extract both in ISIC, "
    f"so that ISIC/ISIC2018_Task3_Training_Input/*.jpg and ISIC/{_LABELS}/{_LABELS}.csv are there. HAM10000 from "
    "elsewhere has another table of labels."
)
SPEC = DatasetSpec(
    name="isic",
    loader="sslbench.datasets.published.isic:load",
    num_classes=7,
    summary="seven kinds of skin lesions",
    licence="CC BY-NC 4.0",
    origin="https://challenge.isic-archive.com/data/#2018",
    protocols=("fewshot", "inversion", "occlusion"),
    markers=("download",),
    folder="ISIC",
    sources=(
        Source(
            "ISIC2018_Task3_Training_Input.zip",
            unpack=".",
            manual=_STEPS,
        ),
        Source(f"{_LABELS}.zip", unpack=".", manual=_STEPS),
    ),
    layouts=layouts(
        {"official": ("ISIC", "isic")}, images="ISIC2018_Task3_Training_Input", labels=f"{_LABELS}/{_LABELS}.csv"
    ),
    expected=Expected(7, {"all": 10_015}, {"all": (1113, 6705, 514, 327, 1099, 115, 142)}),
    citation="Codella et al., Skin lesion analysis toward melanoma detection 2018, arXiv 1902.03368; Tschandl, Rosendahl "
    "and Kittler, The HAM10000 dataset, 2018; Guo et al., A broader study of cross-domain few-shot learning, ECCV 2020",
)


def load(settings: Settings) -> Dataset:
    """The training images as one split, in the order of the table."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """A table `image,MEL,NV,BCC,AKIEC,BKL,DF,VASC` of 0.0 and 1.0, read by position."""
    images, table = found.path("images"), found.path("labels")
    names, targets = [], []
    for name, *values in csv_rows(table, 1 + len(CLASSES)):
        marked = [number for number, value in enumerate(values[: len(CLASSES)]) if _number(value, table) != 0]
        if len(marked) != 1:
            raise DataError(f"{table}: expected one class for {name}, got {values}; fetch it again")
        names.append(name)
        targets.append(marked[0])
    rows = file_rows(images, [f"{name}.jpg" for name in names], targets, found.disk, ids=names)
    return Listing(CLASSES, {"all": rows})


def _number(text: str, table: object) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{table}: expected numbers after the image's name, got {text!r}; fetch it again") from error
