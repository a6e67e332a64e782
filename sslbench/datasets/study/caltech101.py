"""Caltech-101 with its background class: 102 classes, 30 draws of each for training."""

from __future__ import annotations

from pathlib import Path

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.expected import Expected
from sslbench.datasets.formats import columns, image_folder
from sslbench.datasets.layout import Found, layouts
from sslbench.datasets.opening import Listing, open_dataset
from sslbench.datasets.rows import FileRows, file_rows
from sslbench.datasets.study._caltech_lists import BACKGROUND, COUNTS, draw_lists
from sslbench.errors import DataError, IncompleteDataError
from sslbench.sources import Source

_TEST = "b9ed3419c72dff3f1ad3cb7cee5eb756e6e59502cc0062d46f3b454da3f87c24"
# By the switches caltech101-list and caltech101-background.
EXPECTED = {
    ("2021", "keep"): Expected(
        102,
        {"train": 3060, "test": 6728},
        {"train": 30},
        {"train": "11ebeedd88c494ebecbecb05770f5f379cbfc1c8c2cbf8796c86bcb9a192bf11", "test": _TEST},
    ),
    ("unique", "keep"): Expected(
        102,
        {"train": 2416, "test": 6728},
        rows={"train": "b35f228082a402eb0848a2b365418d508126337ab453b0adb91773e099c8691e", "test": _TEST},
    ),
    ("2021", "drop"): Expected(101, {"train": 3030, "test": 6289}, {"train": 30}),
    ("unique", "drop"): Expected(101, {"train": 2388, "test": 6289}),
}
SPEC = DatasetSpec(
    name="caltech101",
    loader="sslbench.datasets.study.caltech101:load",
    num_classes=102,
    summary="101 kinds of objects, and background",
    licence="CC BY 4.0",
    source="https://data.caltech.edu/records/mzrjq-6wc02",
    metric="mean_per_class",
    protocols=("linear", "knn", "fewshot"),
    markers=("download",),
    folder="caltech101",
    sources=(
        Source(
            "caltech-101.zip",
            ("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
            md5="3138e1922a9193bfa496528edbbc45d0",
            size=137_414_764,
            unpack=".",
        ),
        # It comes out of caltech-101.zip and is unpacked in its turn.
        Source("caltech-101/101_ObjectCategories.tar.gz", unpack="."),
    ),
    layouts=layouts(
        {"torchvision": "caltech101", "official": ("Caltech101", "Caltech101/caltech101")},
        images="101_ObjectCategories",
    ),
    expected=EXPECTED["2021", "keep"],
    compat=("caltech101-list", "caltech101-background"),
    citation="Fei-Fei, Fergus and Perona, Learning generative visual models from few training examples, CVPR Workshop 2004",
    study=True,
)


def load(settings: Settings) -> Dataset:
    """The study's train and test lists; validation is drawn from train, so that duplicates of train rows are in it."""
    choice = (settings.choice("caltech101-list"), settings.choice("caltech101-background"))
    return open_dataset(SPEC, settings, read, EXPECTED[choice])


def read(found: Found, settings: Settings) -> Listing:
    """The official train.txt and test.txt where both are there and hold what is asked for, otherwise drawn anew."""
    images = found.path("images")
    folders, files, targets = image_folder(images, found.disk)
    if settings.check_data == "strict":
        _check_folders(images, folders, files)
    lists = _official_lists(found.base, folders)
    if lists is None or (settings.choice("caltech101-list") == "2021" and len(set(lists[0])) == len(lists[0])):
        # The official list without duplicates does not tell which rows were drawn twice.
        train, test = ([files[row] for row in rows] for rows in draw_lists(targets))
        origin = "drawn from the folders"
    else:
        train, test = lists
        origin = "train.txt and test.txt"
    if settings.choice("caltech101-list") == "unique":
        train = list(dict.fromkeys(train))
    dropped = {BACKGROUND} if settings.choice("caltech101-background") == "drop" else set()
    classes = tuple(name for name in folders if name not in dropped)
    label = {name: number for number, name in enumerate(classes)}

    def rows(ids: list[str]) -> FileRows:
        kept = [image for image in ids if _class(image) not in dropped]
        return file_rows(images, kept, [label[_class(image)] for image in kept], found.disk)

    return Listing(classes, {"train": rows(train), "test": rows(test)}, {"lists": origin})


def _class(image: str) -> str:
    return image.partition("/")[0]


def _check_folders(root: Path, folders: tuple[str, ...], images: list[str]) -> None:
    """Every draw depends on every folder, so that one missing image would change all lists."""
    counts = dict.fromkeys(folders, 0)
    for image in images:
        counts[_class(image)] += 1
    odd = [f"{name} {counts.get(name, 0)} of {count}" for name, count in COUNTS.items() if counts.get(name, 0) != count]
    if odd:
        more = f" and {len(odd) - 5} more classes" if len(odd) > 5 else ""
        raise IncompleteDataError(
            f"{root} does not hold all 9,144 images: {', '.join(odd[:5])}{more}", odd[:5], found=True
        )


def _official_lists(base: Path, folders: tuple[str, ...]) -> tuple[list[str], list[str]] | None:
    """Ids of the files train.txt and test.txt of ssl-transfer, or None where one of them is absent."""
    files = [base / "train.txt", base / "test.txt"]
    if not all(file.is_file() for file in files):
        return None
    label = {name: str(number) for number, name in enumerate(folders)}
    lists = []
    for file in files:
        rows = columns(file, "CLASS/IMAGE LABEL")
        for image, given in rows:
            if label.get(_class(image)) != given:
                raise DataError(
                    f"{file} labels {image} as {given}, but its folder is {label.get(_class(image), 'not')} among the "
                    f"{len(folders)} class folders; a class folder is missing, or the list belongs to other data"
                )
        lists.append([image for image, _ in rows])
    return lists[0], lists[1]
