"""PASCAL VOC detection as in the study: trained on the trainval sets of 2007 and 2012, tested on the test set of 2007."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import text_lines
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import NAMED, Listing, few, open_dataset
from sslbench.datasets.published.rows import FileRows, file_rows
from sslbench.datasets.published.voc2007 import CLASSES
from sslbench.datasets.published.voc2007 import SPEC as VOC2007
from sslbench.datasets.targets import Boxes, Objects
from sslbench.datasets.voc_xml import Annotated, edges, read_annotation
from sslbench.errors import DataError, IncompleteDataError
from sslbench.sources import Source

YEARS = ("2007", "2012")
# Whose lists make up each split, in this order.
LISTED = {"train": YEARS, "val": YEARS, "test": ("2007",)}
_FOLDERS = {"images": "JPEGImages", "annotations": "Annotations", "lists": "ImageSets/Main"}
_LABELS = {name: label for label, name in enumerate(CLASSES)}

SPEC = DatasetSpec(
    name="voc",
    loader="sslbench.datasets.published.voc:load",
    num_classes=20,
    summary="objects of 20 kinds with boxes: trainval of 2007 and 2012, test of 2007",
    licence="Flickr's terms",
    origin="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    metric=None,
    targets=Boxes,
    markers=("download",),
    # Where voc2007 is fetched to: who has that one fetches the archive of 2012 alone, and the other way round nothing.
    folder=VOC2007.folder,
    sources=(
        *VOC2007.sources,
        Source(
            "VOCtrainval_11-May-2012.tar",
            (
                "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            ),
            md5="6cd6e144f989b92b3379bac3b3de84fd",
            size=1_999_639_040,
            unpack=".",
        ),
    ),
    layouts=layouts(
        {
            "torchvision": ("voc2007/VOCdevkit", "VOCdevkit", "voc/VOCdevkit"),
            "official": "VOC2007/VOCdevkit",
        },
        **{f"{part}{year}": f"VOC{year}/{folder}" for year in YEARS for part, folder in _FOLDERS.items()},
    ),
    # Train: 2,501 of 2007 and 5,717 of 2012; val: 2,510 and 5,823.
    expected=Expected(20, {"train": 8218, "val": 8333, "test": 4952}),
    citation="Everingham et al., The PASCAL Visual Object Classes challenge: a retrospective, IJCV 111, 2015",
)


def load(settings: Settings) -> Dataset:
    """Official train, val and test with the objects of each picture; those marked difficult are kept and say so."""
    return open_dataset(SPEC, settings, read)


def read(found: Found, settings: Settings) -> Listing:
    """One picture a line in `ImageSets/Main/SPLIT.txt`, its objects in `Annotations/PICTURE.xml`.

    An id has its year in front: nothing but habit keeps a picture of one year from being called like one of the other. Raises
    IncompleteDataError for lists and annotations that are absent or empty, DataError for those that cannot be.
    """
    pictures = {
        split: [(year, name) for year in years for name in _names(found, year, split)]
        for split, years in LISTED.items()
    }
    return Listing(CLASSES, {split: _rows(found, split, part) for split, part in pictures.items()})


def _names(found: Found, year: str, split: str) -> list[str]:
    folder, name = found.path(f"lists{year}"), f"{split}.txt"
    if name not in found.disk.files(folder):
        raise IncompleteDataError(f"{folder} lacks {name}", [name], found=True)
    return text_lines(folder / name)


def _rows(found: Found, split: str, pictures: list[tuple[str, str]]) -> FileRows:
    ids = [f"{year}/{name}" for year, name in pictures]
    folders = {year: found.path(f"annotations{year}") for year in LISTED[split]}
    annotations = [f"{folders[year]}/{name}.xml" for year, name in pictures]
    # An interrupted extraction leaves an empty file at its end.
    absent = [name for name, path in zip(ids, annotations, strict=True) if not found.disk.size(path)]
    if absent:
        raise IncompleteDataError(
            f"{len(absent)} of the {len(ids)} annotations of {split} are absent or empty in {found.base}: {few(absent)}; the "
            "archive may be extracted incompletely",
            absent[:NAMED],
            count=len(absent),
            found=True,
        )
    files = [f"{found.layout.parts[f'images{year}']}/{name}.jpg" for year, name in pictures]
    objects = _objects([read_annotation(Path(path)) for path in annotations])
    return file_rows(found.base, files, Boxes(objects), found.disk, ids=ids)


def _objects(annotations: Sequence[Annotated]) -> list[Objects]:
    """Of each picture, cut from arrays of all: what NumPy needs for an array is paid once, and not 16,000 times."""
    boxes = edges(annotations).astype(np.float32)
    labels = np.array(
        [_LABELS.get(label, -1) for annotation in annotations for label in annotation.labels], dtype=np.int64
    )
    difficult = np.array([mark for annotation in annotations for mark in annotation.difficult], dtype=bool)
    stops = np.cumsum([len(annotation.labels) for annotation in annotations])
    odd = np.flatnonzero((labels < 0) | (boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
    if odd.size:
        number = int(np.searchsorted(stops, odd[0], side="right"))
        annotation, row = annotations[number], int(odd[0] - stops[number])
        corners = ", ".join(f"{corner:g}" for corner in annotation.corners[row])
        raise DataError(
            f"{annotation.path}: expected objects of the challenge's 20 kinds in boxes with an area, got "
            f"{annotation.labels[row]!r} with xmin, ymin, xmax, ymax {corners}; extract the archive again"
        )
    parts = [slice(stop - len(annotation.labels), stop) for annotation, stop in zip(annotations, stops, strict=True)]
    return [Objects(boxes[part], labels[part], difficult[part]) for part in parts]
