"""Sub-folders are splits or classes, or the folder is refused; nothing is guessed in silence."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset
from sslbench.datasets.families._folder_names import looks_like_split, split_of
from sslbench.datasets.families._folder_reading import load_folder
from sslbench.errors import DataError, DataWarning
from tests.datasets.pictures import picture, pictures

CLASSES = ("cat", "dog")


def load(root: Path) -> Dataset:
    return load_folder(f"folder:{root}", Settings())


def splits(root: Path, *names: str) -> Path:
    return pictures(root, *(f"{name}/{label}" for name in names for label in CLASSES))


def folders_of(dataset: Dataset, root: Path) -> dict[str, set[str]]:
    """From which folders below the root the pictures of each split come."""
    return {
        name: {Path(path).relative_to(root).parts[0] for path in split.images.paths}
        for name, split in dataset.splits.items()
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *[
            (name, "train")
            for name in ("train", "Training", "TRAIN", "trn", "train_set", "Training Set", "train-images")
        ],
        *[(name, "train") for name in ("train2017", "trainval", "train_val", "train.data", "train_split_1")],
        *[
            (name, "val")
            for name in ("val", "valid", "Validation", "dev", "eval", "val2017", "valid_images", "evaluation")
        ],
        *[
            (name, "test")
            for name in ("test", "Testing", "hold-out", "held_out", "holdout", "test1", "TestSet", "test-imgs")
        ],
        *[
            (name, "")
            for name in ("cat", "trains", "training ground", "steam train", "contest", "values", "images", "", "2017")
        ],
        *[(name, "") for name in ("devil", "testament", "train\udce9", "trainA")],
    ],
)
def test_spellings_of_splits(name: str, split: str) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("images_train", "train"), ("trainA", "train"), ("my-test-pictures", "test"), ("steam train", "train"),
        ("fold_3", "fold"), ("Fold3", "fold"), ("contest", ""), ("unfold", ""), ("cat", ""), ("train", "train"),
    ],
)  # fmt: skip
def test_names_that_only_look_like_splits(name: str, split: str) -> None:
    assert looks_like_split(name) == split


@pytest.mark.parametrize(
    "names", [("train", "valid", "test"), ("Train", "Dev", "Holdout"), ("training_set", "val2017", "Test Set")]
)
def test_three_splits_in_any_spelling(names: tuple[str, ...], tmp_path: Path) -> None:
    dataset = load(splits(tmp_path, *names))
    assert dataset.classes == CLASSES
    assert folders_of(dataset, tmp_path) == {
        split: {name} for split, name in zip(("train", "val", "test"), names, strict=True)
    }
    assert dataset.details["split"] == "given"
    assert dataset.details["folders"] == dict(zip(("train", "val", "test"), names, strict=True))


@pytest.mark.parametrize(
    ("names", "held_out"),
    [
        (("train", "valid"), "valid"),
        (("Train", "Test"), "Test"),
        (("training", "dev"), "dev"),
        (("trainval", "test"), "test"),
    ],
)
def test_two_splits_in_any_spelling(names: tuple[str, ...], held_out: str, tmp_path: Path) -> None:
    dataset = load(splits(tmp_path, *names))
    assert folders_of(dataset, tmp_path) == {"train": {names[0]}, "val": {names[0]}, "test": {held_out}}
    assert dataset.details["split"] == f"test from {held_out}/, val a stratified fifth of {names[0]}/"


def test_the_usual_names_say_nothing_of_folders(tmp_path: Path) -> None:
    assert load(splits(tmp_path, "train", "val", "test")).details == {"split": "given"}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("val", "test"), "found val and test but no train; expected PATH/CLASS"),
        (("train", "Train", "test"), "the folders Train and train are both train; keep one"),
        (("train", "val", "valid", "dev"), "dev and val and valid are both val"),
        (("train1", "train2", "test"), "train1 and train2 are both train"),
        (
            ("train",),
            r"train has the name of a split \(train\), without another .*folder:.*/train, .*its pictures directly into",
        ),
        (("validation",), r"validation has the name of a split \(val\)"),
        (("fold1", "fold2"), "the folders fold1, fold2 look like splits, not like classes"),
        (("images_train", "images_test"), "the folders images_test, images_train look like splits"),
        (("trainA", "testA", "notes"), "the folders testA, trainA look like splits, not like classes"),
    ],
)
def test_what_is_neither_splits_nor_classes_is_refused(names: tuple[str, ...], told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told):
        load(splits(tmp_path, *names))


def test_splits_without_class_folders_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "train", "test")
    with pytest.raises(
        DataError, match=r"train and test have the names of splits, but train and test hold no class folders"
    ):
        load(tmp_path)
    splits(tmp_path / "other", "train", "val")
    pictures(tmp_path / "other", "test")
    with pytest.raises(DataError, match=r"but test holds no class folders.*Pictures without classes cannot be used"):
        load(tmp_path / "other")
    splits(tmp_path / "empty", "train", "val")
    (tmp_path / "empty" / "test").mkdir()
    with pytest.raises(DataError, match=r"but test holds no class folders"):
        load(tmp_path / "empty")


def test_a_vehicle_called_train_is_a_class(tmp_path: Path) -> None:
    pictures(tmp_path, "bus", "train", "tram")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = load(tmp_path)
    assert dataset.classes == ("bus", "train", "tram")
    # Deeper pictures beside those that lie in it directly change nothing.
    picture(tmp_path / "train" / "steam" / "1.png")
    assert load(tmp_path).classes == ("bus", "train", "tram")


def test_a_class_called_train_that_might_be_a_split_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "bus", "train/steam", "train/diesel")
    with pytest.raises(DataError, match="if it is a class, put its pictures directly into it"):
        load(tmp_path)


def test_a_class_that_may_be_meant_as_a_split_is_told(tmp_path: Path) -> None:
    pictures(tmp_path, "cat", "dog", "old test/cat", "old test/dog")
    with pytest.warns(DataWarning, match="old test may be meant as splits, and were read as classes"):
        assert load(tmp_path).classes == ("cat", "dog", "old test")
    pictures(tmp_path / "flat", "cat", "dog", "steam train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(tmp_path / "flat").classes == ("cat", "dog", "steam train")


def test_folders_beside_the_splits_are_told(tmp_path: Path) -> None:
    splits(tmp_path, "train", "test", "extra_test")
    pictures(tmp_path, "unlabelled")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.xml").write_text("<a/>")
    picture(tmp_path / "train" / "contact-sheet.png")
    with pytest.warns(
        DataWarning, match=r"not read: pictures outside of the class folders: 1, the folder extra_test, the folder unl"
    ):
        dataset = load(tmp_path)
    assert dataset.details["not_read"] == {
        "pictures_outside_of_classes": 1, "unused_folders": ["extra_test", "unlabelled"],
    }  # fmt: skip
    assert dataset.classes == CLASSES


def test_splits_below_the_classes_are_told(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/train", "cat/test", "dog/train", "dog/test")
    with pytest.warns(
        DataWarning, match="cat/test, cat/train, dog/test, dog/train have names of splits, but lie inside of class"
    ):
        dataset = load(tmp_path)
    assert dataset.details["splits_inside_of_classes"] == ["cat/test", "cat/train", "dog/test", "dog/train"]
    pictures(tmp_path / "given", "train/cat/val", "train/dog", "test/cat", "test/dog")
    with pytest.warns(DataWarning, match="train/cat/val have names of splits"):
        assert load(tmp_path / "given").details["splits_inside_of_classes"] == ["train/cat/val"]


def test_differing_classes_of_splits_in_other_spellings(tmp_path: Path) -> None:
    splits(tmp_path, "Train", "Test")
    pictures(tmp_path, "Test/bird")
    with pytest.raises(DataError, match="Train and Test name different classes: bird"):
        load(tmp_path)


def test_one_folder_around_all_is_named(tmp_path: Path) -> None:
    splits(tmp_path / "archive", "train", "test")
    with pytest.raises(DataError, match=rf"found 1 class folders \['archive'\].*name folder:{tmp_path}/archive"):
        load(tmp_path)


def test_where_warnings_are_errors_the_data_is(tmp_path: Path) -> None:
    splits(tmp_path, "train", "test")
    pictures(tmp_path, "unlabelled")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"not read: the folder unlabelled \(warnings are errors in this run\)"):
            load(tmp_path)
