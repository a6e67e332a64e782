"""Caltech-101 with its background class: 102 classes, 30 draws of each for training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.formats import columns, image_folder
from sslbench.datasets.published._caltech_lists import BACKGROUND, COUNTS, draw_lists, published_lists
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.published.layout import Found, layouts
from sslbench.datasets.published.opening import Listing, open_dataset
from sslbench.datasets.published.rows import FileRows, file_rows
from sslbench.errors import DataError, IncompleteDataError, tell
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
    loader="sslbench.datasets.published.caltech101:load",
    num_classes=102,
    summary="101 kinds of objects, and background",
    licence="CC BY 4.0",
    origin="https://data.caltech.edu/records/mzrjq-6wc02",
    metric="mean_per_class",
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
)


def load(settings: Settings) -> Dataset:
    """The study's train and test lists; validation is drawn from train, so that duplicates of train rows are in it."""
    choice = (settings.choice("caltech101-list"), settings.choice("caltech101-background"))
    return open_dataset(SPEC, settings, read, EXPECTED[choice])


def read(found: Found, settings: Settings) -> Listing:
    """The official train.txt and test.txt where both are there and hold what is asked for, otherwise drawn anew."""
    images = found.path("images")
    folders, files, targets = image_folder(images, found.disk)
    incomplete = _incomplete(folders, files)
    if incomplete and settings.check_data == "strict":
        raise IncompleteDataError(
            f"{images} does not hold all 9,144 images: {_few(incomplete)}", incomplete, found=True
        )
    lists, unused = _lists_beside(found.base, folders, set(files))
    if lists is not None and settings.choice("caltech101-list") == "2021" and len(set(lists[0])) == len(lists[0]):
        lists, unused = None, "train.txt names no image twice, so that it does not tell the list of 2021"
    if lists is None:
        train, test = ([files[row] for row in rows] for rows in draw_lists(targets))
        origin = "drawn from the folders"
    else:
        train, test = lists
        origin = "train.txt and test.txt"
    dropped = {BACKGROUND} if settings.choice("caltech101-background") == "drop" else set()
    classes = tuple(name for name in folders if name not in dropped)
    label = {name: number for number, name in enumerate(classes)}

    def chosen(ids: list[str]) -> list[str]:
        kept = dict.fromkeys(ids) if settings.choice("caltech101-list") == "unique" else ids
        return [image for image in kept if _class(image) not in dropped]

    def rows(ids: list[str]) -> FileRows:
        return file_rows(images, ids, [label[_class(image)] for image in ids], found.disk)

    train, test = chosen(train), chosen(test)
    differs: list[str] = []
    published = [Counter(chosen(ids)) for ids in published_lists()]
    others = [(Counter(ids) - known).total() for ids, known in zip((train, test), published, strict=True)]
    if lists is None and incomplete:
        differs.append(
            f"the folders do not hold all 9,144 images ({_few(incomplete)}), so that another list was drawn from them: "
            f"{others[0]:,} of {len(train):,} rows of train are not those of the published list"
        )
    elif lists is not None and any(others):
        differs.append(
            f"train.txt and test.txt are not the study's lists ({others[0]:,} rows of train and {others[1]:,} of test are "
            f"others); without them in {found.base} the lists are drawn from the folders"
        )
    details = {"lists": origin, **({"lists_not_used": unused} if unused else {})}
    return Listing(classes, {"train": rows(train), "test": rows(test)}, details, tuple(differs))


def _class(image: str) -> str:
    return image.partition("/")[0]


def _incomplete(folders: tuple[str, ...], images: list[str]) -> list[str]:
    """Folders that hold more or fewer images than published. Every draw depends on every folder."""
    counts = Counter(map(_class, images))
    return [
        f"{name} {counts[name]} of {COUNTS.get(name, 0)}"
        for name in sorted({*folders, *COUNTS})
        if counts[name] != COUNTS.get(name, 0)
    ]


def _few(folders: list[str]) -> str:
    more = f" and {len(folders) - 5} more classes" if len(folders) > 5 else ""
    return f"{', '.join(folders[:5])}{more}"


def _lists_beside(
    base: Path, folders: tuple[str, ...], images: set[str]
) -> tuple[tuple[list[str], list[str]] | None, str]:
    """Ids of the files train.txt and test.txt of ssl-transfer, or None, and why those that are there are not used.

    Other lists have the same names: what does not fit the folders is refused as such, before it is taken for damage.
    """
    files = [base / "train.txt", base / "test.txt"]
    there = [file.name for file in files if file.is_file()]
    if len(there) < 2:
        unused = f"{there[0]} without the other list" if there else ""
        if unused:
            tell(f"caltech101: {base} holds {unused}; the lists are drawn from the folders")
        return None, unused
    remedy = (
        f"if it is not the study's list of Caltech-101, move train.txt and test.txt away from {base}, and the lists are drawn "
        "from the folders"
    )
    label = {name: str(number) for number, name in enumerate(folders)}
    lists = []
    for file in files:
        rows = columns(file, "CLASS/IMAGE LABEL", remedy)
        if not rows:
            raise DataError(f"{file} is empty; {remedy}")
        for image, given in rows:
            if label.get(_class(image)) != given:
                raise DataError(
                    f"{file} labels {image} as {given}, but its folder is {label.get(_class(image), 'not')} among the "
                    f"{len(folders)} class folders; a class folder is missing, or the list belongs to other data: {remedy}"
                )
        absent = [image for image, _ in rows if image not in images]
        if absent:
            raise IncompleteDataError(
                f"{len(absent)} of the {len(rows)} images of {file.stem} are absent from the class folders, such as "
                f"{', '.join(absent[:5])}: the folders are incomplete, or {file} belongs to other data; {remedy}",
                absent[:5],
                count=len(absent),
                found=True,
            )
        lists.append([image for image, _ in rows])
    return (lists[0], lists[1]), ""
