"""Caltech-101's lists: generated as published, and both switches."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sslbench.config import Settings
from sslbench.datasets import Dataset, load_dataset
from sslbench.datasets.published._caltech_lists import COUNTS, draw_lists, published_lists
from sslbench.datasets.published.caltech101 import EXPECTED
from sslbench.datasets.splits import study_validation
from sslbench.errors import DataError, DataWarning
from tests.datasets.published.builders import Built, build

FILES = [f"{name}/image_{number:04d}.jpg" for name, count in COUNTS.items() for number in range(1, count + 1)]
TARGETS = np.repeat(np.arange(len(COUNTS)), list(COUNTS.values()))


def sha256(rows: np.ndarray, end: str = "\n") -> str:
    return hashlib.sha256("".join(f"{FILES[row]} {TARGETS[row]}{end}" for row in rows).encode()).hexdigest()


def test_the_folders_are_sorted_and_hold_9144_images() -> None:
    assert list(COUNTS) == sorted(COUNTS)
    assert (len(COUNTS), sum(COUNTS.values())) == (102, 9144)


def test_the_lists_are_the_published_ones() -> None:
    """sha256 of train.txt and test.txt of 2021, and of the train.txt of 2023, which has CRLF line ends."""
    train, test = draw_lists(TARGETS)
    assert (len(train), len(test)) == (3060, 6728)
    assert sha256(train) == "11ebeedd88c494ebecbecb05770f5f379cbfc1c8c2cbf8796c86bcb9a192bf11"
    assert sha256(test) == "b9ed3419c72dff3f1ad3cb7cee5eb756e6e59502cc0062d46f3b454da3f87c24"
    unique = np.unique(train)
    assert len(unique) == 2416
    assert sha256(unique, "\r\n") == "8dca4e4db1a37f376193ad43ebf48a52d76a85909ad3e221026182a4fdb2e1a3"
    assert np.bincount(TARGETS[unique]).min() == 17


def test_what_is_expected_follows_from_the_lists() -> None:
    train, test = draw_lists(TARGETS)
    unique = np.unique(train)
    for (listed, background), expected in EXPECTED.items():
        rows = train if listed == "2021" else unique
        first = 1 if background == "drop" else 0
        counted = {"train": int((TARGETS[rows] >= first).sum()), "test": int((TARGETS[test] >= first).sum())}
        assert (expected.classes, expected.images) == (102 - first, counted)
        if background == "keep":
            assert expected.rows == {"train": sha256(rows), "test": sha256(test)}


def test_the_draw_equals_a_plain_loop() -> None:
    targets = np.repeat([0, 1, 2], [3, 40, 31])
    np.random.seed(0)
    train: list[int] = []
    for label in range(3):
        rows = [row for row, target in enumerate(targets) if target == label]
        train += sorted(np.random.choice(rows, 30).tolist())
    got_train, got_test = draw_lists(targets)
    assert got_train.tolist() == train
    assert got_test.tolist() == [row for row in range(74) if row not in set(train)]


def test_the_draw_leaves_the_global_generator_alone() -> None:
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    draw_lists(TARGETS)
    assert np.random.random() == expected


def load(data_dir: Path, **choices: str) -> Dataset:
    return load_dataset("caltech101", Settings(data_dir=data_dir, check_data="loose", compat=choices))


def ids(dataset: Dataset, built: Built) -> list[str]:
    """Official train rows again: train and val in their original order, recognised by their colours."""
    by_colour = {colour: name for name, colour in built.colours.items()}
    assert len(by_colour) == len(built.colours)
    names = {}
    total = sum(len(dataset.splits[split].targets) for split in ("train", "val"))
    for split, rows in zip(("train", "val"), study_validation(total), strict=True):
        images = dataset.splits[split].images
        for row, image, target in zip(
            np.sort(rows), images.load(range(len(images))), dataset.splits[split].targets.values, strict=True
        ):
            seen = np.asarray(image)[0, 0].astype(int)
            name = min(by_colour.items(), key=lambda item: np.abs(seen - item[0]).max())[1]
            assert dataset.classes[target] == name.partition("/")[0]
            names[int(row)] = name
    return [names[row] for row in range(total)]


@pytest.fixture
def built(tmp_path: Path) -> Built:
    return build("caltech101", tmp_path)


def drawn(built: Built) -> tuple[list[str], list[str]]:
    listed = built.splits["folders"]
    train, test = draw_lists(np.array([label for _, label in listed]))
    return [listed[row][0] for row in train], [listed[row][0] for row in test]


def write_lists(built: Built, train: list[str], test: list[str], end: str) -> None:
    label = {name: number for number, name in enumerate(built.classes)}
    for file, images in (("train.txt", train), ("test.txt", test)):
        lines = [f"{image} {label[image.partition('/')[0]]}{end}" for image in images]
        (built.root / file).write_bytes("".join(lines).encode())


def test_lists_are_drawn_from_the_folders(built: Built, tmp_path: Path) -> None:
    dataset = load(tmp_path)
    assert dataset.classes == built.classes == ("BACKGROUND_Google", "Faces", "accordion")
    train, test = drawn(built)
    assert ids(dataset, built) == train
    assert len(train) == 90 > len(set(train))
    assert len(dataset.splits["test"].targets) == len(test)
    assert dataset.details["lists"] == "drawn from the folders"


def test_the_unique_list_has_no_duplicates(built: Built, tmp_path: Path) -> None:
    dataset = load(tmp_path, **{"caltech101-list": "unique"})
    assert ids(dataset, built) == list(dict.fromkeys(drawn(built)[0]))


def test_background_is_dropped_after_the_draw(built: Built, tmp_path: Path) -> None:
    dataset = load(tmp_path, **{"caltech101-background": "drop"})
    assert dataset.classes == ("Faces", "accordion")
    assert ids(dataset, built) == [image for image in drawn(built)[0] if not image.startswith("BACKGROUND")]


def test_the_official_list_of_2021_is_used(built: Built, tmp_path: Path) -> None:
    train, test = drawn(built)
    # Another draw than the generator's, so that the file is seen to count.
    swapped = [test[0], test[0], *train[2:]]
    write_lists(built, swapped, test[1:], "\n")
    dataset = load(tmp_path)
    assert ids(dataset, built) == swapped
    assert dataset.details["lists"] == "train.txt and test.txt"
    assert ids(load(tmp_path, **{"caltech101-list": "unique"}), built) == list(dict.fromkeys(swapped))


def test_the_official_list_of_2023_cannot_give_the_one_of_2021(built: Built, tmp_path: Path) -> None:
    train, test = drawn(built)
    unique = [test[0], *dict.fromkeys(train[2:])]
    write_lists(built, unique, test[1:], "\r\n")
    dataset = load(tmp_path)
    assert ids(dataset, built) == train
    assert dataset.details["lists"] == "drawn from the folders"
    other = load(tmp_path, **{"caltech101-list": "unique"})
    assert ids(other, built) == unique
    assert other.details["lists"] == "train.txt and test.txt"


def test_labels_that_do_not_fit_the_folders_are_refused(built: Built, tmp_path: Path) -> None:
    train, test = drawn(built)
    write_lists(built, train, test, "\n")
    text = (built.root / "train.txt").read_text().replace(" 2\n", " 3\n")
    (built.root / "train.txt").write_text(text)
    with pytest.raises(
        DataError, match=r"train\.txt labels accordion/image_\d+.jpg as 3, but its folder is 2 among the 3"
    ):
        load(tmp_path)


FOREIGN = (
    r"not the study's list of Caltech-101, move train\.txt and test\.txt away from .*, and the lists are drawn from"
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"image_0001\n", r"train\.txt: row 1: expected 'CLASS/IMAGE LABEL', got 'image_0001'; if it is"),
        (b"Faces/image_0001.jpg,1\n", r"row 1: expected 'CLASS/IMAGE LABEL', got 'Faces/image_0001\.jpg,1'"),
        (b"\xff\xfe1\n", r"cannot read .*train\.txt: .*codec"),
        (b"", r"train\.txt is empty"),
        (
            b"./Faces/image_0001.jpg 1\n",
            r"train\.txt labels \./Faces/image_0001\.jpg as 1, but its folder is not among",
        ),
        (
            b"Faces/photo.jpg 1\n",
            r"1 of the 1 images of train are absent .*such as Faces/photo\.jpg: .* belongs to other data",
        ),
    ],
)
def test_lists_of_something_else_are_not_taken_for_damage(
    content: bytes, told: str, built: Built, tmp_path: Path
) -> None:
    for name in ("train.txt", "test.txt"):
        (built.root / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{told}.*{FOREIGN}") as caught:
        load(tmp_path)
    assert "extract" not in str(caught.value)
    for name in ("train.txt", "test.txt"):
        (built.root / name).unlink()
    assert load(tmp_path).details["lists"] == "drawn from the folders"


def test_one_list_without_the_other_is_told(built: Built, tmp_path: Path) -> None:
    (built.root / "test.txt").write_text("something\n")
    with pytest.warns(DataWarning, match=r"caltech101: .* holds test\.txt without the other list; the lists are drawn"):
        details = load(tmp_path).details
    assert details["lists"] == "drawn from the folders"
    assert details["lists_not_used"] == "test.txt without the other list"


def test_loose_says_that_the_whole_draw_differs(tmp_path: Path) -> None:
    """One missing image shifts the draws of later classes too, where other random numbers are rejected."""
    root = tmp_path / "caltech101" / "101_ObjectCategories"
    for file in FILES:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    assert load(tmp_path).details["complete"] is True
    lost = root / "binocular" / "image_0033.jpg"
    lost.unlink()
    kept = [file for file in FILES if file != "binocular/image_0033.jpg"]
    drawn_train, _ = draw_lists(np.array([list(COUNTS).index(file.partition("/")[0]) for file in kept]))
    published, _ = published_lists()
    others = Counter(kept[row] for row in drawn_train) - Counter(published)
    assert others.total() > 700
    told = f"(binocular 32 of 33), so that another list was drawn from them: {others.total():,} of 3,060 rows of train are not"
    for choices in ({}, {"caltech101-background": "drop"}):
        differs = load(tmp_path, **choices).details["fingerprint"]["differs"]
        assert "the folders do not hold all 9,144 images (binocular 32 of 33)" in differs[0]
        assert choices or told in differs[0]
        assert any("test: expected" in text for text in differs)
    assert (
        "train: the list of images and labels is not the published one"
        in load(tmp_path).details["fingerprint"]["differs"]
    )
    with pytest.raises(DataError, match=r"does not hold all 9,144 images: binocular 32 of 33"):
        load_dataset("caltech101", Settings(data_dir=tmp_path))


def test_lists_in_the_right_form_that_are_not_the_studys_are_named(tmp_path: Path) -> None:
    root = tmp_path / "caltech101" / "101_ObjectCategories"
    for file in FILES:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    train, test = published_lists()
    classes = list(COUNTS)

    def write(train: list[str]) -> None:
        for name, ids in (("train.txt", train), ("test.txt", test)):
            lines = [f"{image} {classes.index(image.partition('/')[0])}\n" for image in ids]
            (tmp_path / "caltech101" / name).write_text("".join(lines))

    write(train)
    dataset = load_dataset("caltech101", Settings(data_dir=tmp_path))
    assert (dataset.details["lists"], dataset.details["complete"]) == ("train.txt and test.txt", True)
    write([test[0], *train[1:]])
    told = r"train\.txt and test\.txt are not the study's lists \(1 rows of train and 0 of test are others\); without them in"
    with pytest.raises(DataError, match=told):
        load_dataset("caltech101", Settings(data_dir=tmp_path))


def test_images_that_only_the_list_names_are_missed(built: Built, tmp_path: Path) -> None:
    train, test = drawn(built)
    write_lists(built, train, [*test, "Faces/image_9999.jpg"], "\n")
    with pytest.raises(DataError, match=r"1 of the \d+ images of test are absent .*Faces/image_9999.jpg"):
        load(tmp_path)


def test_a_folder_that_is_not_whole_is_named(built: Built, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"does not hold all 9,144 images: BACKGROUND_Google 35 of 467, Faces 35 of 435"
    ):
        load_dataset("caltech101", Settings(data_dir=tmp_path))
