"""PASCAL VOC 2007 classification: which of 20 kinds of objects are in the picture."""

from __future__ import annotations

import numpy as np

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import columns
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import FileRows, file_rows
from sslbench.datasets.targets import LabelSets
from sslbench.errors import DataError, IncompleteDataError
from sslbench.sources import Source

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
SPLITS = ("train", "val", "test")
# The challenge's own host, the second one, has been redirecting to the first since 2026.
_HOSTS = ("https://thor.robots.ox.ac.uk/pascal/VOC/voc2007/", "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/")
SPEC = DatasetSpec(
    name="voc2007",
    loader="sslbench.datasets.published.voc2007:load",
    num_classes=20,
    summary="which of 20 kinds of objects are in the picture (multi-label)",
    licence="Flickr's terms",
    origin="http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
    metric="voc_map11",
    targets=LabelSets,
    markers=("download",),
    folder="voc2007",
    sources=(
        Source(
            "VOCtrainval_06-Nov-2007.tar",
            tuple(host + "VOCtrainval_06-Nov-2007.tar" for host in _HOSTS),
            md5="c52e279531787c972589f7e41ab4ae64",
            size=460_032_000,
            unpack=".",
        ),
        Source(
            "VOCtest_06-Nov-2007.tar",
            tuple(host + "VOCtest_06-Nov-2007.tar" for host in _HOSTS),
            md5="b6e924de25625d8de591ea690078ad9f",
            size=451_020_800,
            unpack=".",
        ),
    ),
    layouts=layouts(
        {
            "torchvision": ("voc2007/VOCdevkit/VOC2007", "VOCdevkit/VOC2007"),
            "official": "VOC2007/VOCdevkit/VOC2007",
        },
        images="JPEGImages",
        lists="ImageSets/Main",
    ),
    expected=Expected(
        20,
        {"train": 2501, "val": 2510, "test": 4952},
        {
            "train": (112, 116, 180, 81, 139, 97, 376, 163, 224, 69, 97, 203, 139, 120, 1025, 133, 48, 111, 127, 128),
            "val": (126, 127, 150, 100, 105, 89, 337, 174, 221, 72, 103, 218, 148, 125, 983, 112, 48, 118, 134, 128),
            "test": (
                204,
                239,
                282,
                172,
                212,
                174,
                721,
                322,
                417,
                127,
                190,
                418,
                274,
                222,
                2007,
                224,
                97,
                223,
                259,
                229,
            ),
        },
    ),
    compat=("voc2007-difficult", "voc2007-penalty"),
    citation="Everingham et al., The PASCAL Visual Object Classes (VOC) challenge, IJCV 88, 2010",
)


def load(settings: Settings) -> Dataset:
    """Official train, val and test with int8 (N, 20) targets."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """One file a class and split, lines `000012  1`: 1 present, -1 absent, 0 only objects marked difficult."""
    folder = found.path("lists")
    absent = [
        name
        for split in SPLITS
        for name in (f"{kind}_{split}.txt" for kind in CLASSES)
        if name not in found.disk.files(folder)
    ]
    if absent:
        raise IncompleteDataError(
            f"{folder} lacks {len(absent)} lists, such as {', '.join(absent[:3])}", absent[:5], found=True
        )
    difficult = -1 if settings.choice("voc2007-difficult") == "ignored" else 0
    return Listing(CLASSES, {split: _read_split(found, split, difficult) for split in SPLITS})


def _read_split(found: Found, split: str, difficult: int) -> FileRows:
    meaning = {"1": 1, "-1": 0, "0": difficult}
    images: list[str] = []
    targets: list[list[int]] = []
    for kind in CLASSES:
        path = found.path("lists") / f"{kind}_{split}.txt"
        rows = columns(path, "IMAGE LABEL")
        names = [name for name, _ in rows]
        if targets and names != images:
            raise DataError(f"{path} lists other images than {CLASSES[0]}_{split}.txt; extract the archives again")
        odd = [label for _, label in rows if label not in meaning]
        if odd:
            raise DataError(f"{path}: expected labels 1, 0 and -1, got {odd[0]!r}; extract the archives again")
        images = names
        targets.append([meaning[label] for _, label in rows])
    marks = np.array(targets, dtype=np.int8).T.reshape(-1, len(CLASSES))
    return file_rows(found.path("images"), [f"{image}.jpg" for image in images], marks, found.disk, ids=images)
