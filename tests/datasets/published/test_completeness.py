"""Data that is absent, incomplete or not the published one: one error that names it, and the states for doctor."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from sslbench.config import Settings
from sslbench.datasets import dataset_spec, inspect, load_dataset
from sslbench.datasets.published.facts import Expected, file_md5, rows_digest
from sslbench.datasets.published.layout import Found
from sslbench.errors import DataError, IncompleteDataError
from tests.conftest import Registries
from tests.datasets.published.builders import LAYOUTS, Built, build

BY_HAND = {"cars", "sun397", "isic", "chestx", "cropdiseases"}
# Sets whose images are named by a list, with the folder of their images.
LISTED = ["aircraft", "cars", "dtd", "flowers", "food", "pets", "sun397", "voc2007", "isic", "chestx"]


def settings(data_dir: Path, check: str = "strict") -> Settings:
    return Settings(data_dir=data_dir, check_data=check)


def publish(
    monkeypatch: pytest.MonkeyPatch, registries: Registries, name: str, built: Built, data_dir: Path, **changes: object
) -> Expected:
    """Let the tiny data be the published one; changes: facts that differ from it."""
    module = import_module(f"sslbench.datasets.published.{name}")
    spec = module.SPEC
    found = Found(spec.layouts[0], data_dir)
    listing = module.read(found, settings(data_dir, "loose"))
    expected = Expected(
        classes=len(built.classes),
        images={split: len(rows) for split, rows in built.splits.items()},
        rows={split: rows_digest(rows) for split, rows in listing.splits.items()},
        md5={part: file_md5(found, part) for part in (spec.expected.md5 if spec.expected else {})},
    )
    expected = replace(expected, **changes)  # type: ignore[arg-type]
    changed = replace(spec, expected=expected)
    monkeypatch.setattr(module, "SPEC", changed)
    registries.redeclare(changed)
    return expected


@pytest.mark.parametrize("name", LAYOUTS)
def test_absent_data_is_an_error_that_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(IncompleteDataError, match=rf"^{name}: no files in .*--sslbench-data") as caught:
        load_dataset(name, settings(tmp_path))
    spec = dataset_spec(name)
    assert str(caught.value).endswith(spec.how_to_get())
    status = inspect(name, settings(tmp_path))
    assert (status.name, status.state) == (name, "manual" if name in BY_HAND else "absent")
    assert (status.missing, status.bytes) == ((), 0)
    assert status.how == spec.how_to_get()
    if any(source.urls for source in spec.sources):
        assert f"`sslbench fetch --dataset {name}`" in status.how
    if name in BY_HAND:
        assert f"By hand, into {spec.folder} below the data directory" in status.how


@pytest.mark.parametrize("name", LISTED)
def test_images_that_a_list_names_are_missed_by_name(name: str, tmp_path: Path) -> None:
    built = build(name, tmp_path, sizes={"train": 3, "val": 2, "test": 4})
    split = "all" if "all" in built.splits else "test"
    victims = [image for image, _ in built.splits[split]][:7]
    for number, image in enumerate(victims):
        (path,) = (path for path in built.root.rglob("*.*g") if path.stem == Path(image).stem and lies_in(path, image))
        # An interrupted extraction leaves an empty file at its end.
        path.write_bytes(b"") if number else path.unlink()
    for check in ("strict", "loose"):
        with pytest.raises(
            IncompleteDataError, match=rf"^{name}: 7 of the \d+ images of {split} are absent or empty"
        ) as caught:
            load_dataset(name, settings(tmp_path, check))
        assert caught.value.missing == tuple(victims[:5])
        for image in victims[:5]:
            assert image in str(caught.value)
        assert "and 2 more" in str(caught.value)
    status = inspect(name, settings(tmp_path))
    assert (status.state, status.missing) == ("incomplete", tuple(victims[:5]))
    assert status.bytes > 0
    assert status.how == dataset_spec(name).how_to_get()


def lies_in(path: Path, image: str) -> bool:
    """Whether a path is that of an id: cars have the same file names in train and test, sun397 in each folder."""
    folder = image.rpartition("/")[0]
    return not folder or path.parent.as_posix().endswith(folder) or path.parent.name == f"cars_{folder}"


@pytest.mark.parametrize(
    ("name", "lost", "told"),
    [
        ("aircraft", "images_variant_val.txt", "lacks images_variant_val.txt"),
        ("cars", "devkit/cars_meta.mat", "lacks devkit/cars_meta.mat"),
        ("cifar10", "data_batch_4", "lacks data_batch_4"),
        ("dtd", "labels/test1.txt", "lacks labels/test1.txt"),
        ("dtd", "images/banded", "lacks the class folders banded"),
        ("flowers", "setid.mat", "lacks setid.mat"),
        ("food", "meta/classes.txt", "lacks meta/classes.txt"),
        ("food", "images/baklava", "6 of the 18 images of train are absent or empty"),
        ("pets", "annotations", "lacks annotations/trainval.txt, annotations/test.txt"),
        ("sun397", "Training_01.txt", "lacks Training_01.txt"),
        ("voc2007", "ImageSets/Main/cow_test.txt", "lacks 1 lists, such as cow_test.txt"),
        ("eurosat", "Forest", "lacks the class folders Forest"),
        ("isic", "ISIC2018_Task3_Training_Input", "lacks ISIC2018_Task3_Training_Input"),
        ("chestx", "Data_Entry_2017.csv", "lacks Data_Entry_2017.csv"),
    ],
)
def test_what_an_incomplete_extraction_lacks_is_named(name: str, lost: str, told: str, tmp_path: Path) -> None:
    path = build(name, tmp_path).root / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(IncompleteDataError, match=f"^{name}: .*{told}"):
        load_dataset(name, settings(tmp_path, "loose"))
    status = inspect(name, settings(tmp_path, "loose"))
    assert status.state == "incomplete"
    assert status.missing


def test_a_class_folder_without_an_image_is_named(tmp_path: Path) -> None:
    root = build("eurosat", tmp_path).root
    for path in (root / "Forest").iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(IncompleteDataError, match=r"eurosat: .*Forest holds no image"):
        load_dataset("eurosat", settings(tmp_path, "loose"))


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "caltech101"])
def test_data_as_published_is_ready_and_complete(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: Registries
) -> None:
    built = build(name, tmp_path)
    publish(monkeypatch, registries, name, built, tmp_path)
    dataset = load_dataset(name, settings(tmp_path))
    assert dataset.details["complete"] is True
    assert "differs" not in dataset.details["fingerprint"]
    status = inspect(name, settings(tmp_path))
    assert (status.state, status.missing, status.how) == ("ready", (), "")
    assert status.bytes > 1000


def test_ready_says_the_bytes_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: Registries) -> None:
    built = build("flowers", tmp_path)
    publish(monkeypatch, registries, "flowers", built, tmp_path)
    on_disk = sum(path.stat().st_size for path in built.root.rglob("*") if path.is_file())
    assert inspect("flowers", settings(tmp_path)).bytes == on_disk


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"classes": 4}, "expected 4 classes, found 3"),
        ({"images": {"train": 9, "val": 7, "test": 6}}, "val: expected 7 images, found 6"),
        ({"images": {"train": (8, 10)}}, "train: expected 8 or 10 images, found 9"),
        ({"per_class": {"train": 3, "test": (2, 3, 1)}}, "test: images of '2' 2 instead of 3, '3' 2 instead of 1"),
        ({"rows": {"val": "0" * 64}}, "val: the list of images and labels is not the published one"),
        ({"md5": {"splits": "0" * 32}}, r"setid\.mat: expected md5 0{32}, found [0-9a-f]{32}"),
    ],
)
def test_other_data_than_published_is_refused_or_stated(
    changes: dict[str, object], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: Registries
) -> None:
    built = build("flowers", tmp_path)
    publish(monkeypatch, registries, "flowers", built, tmp_path, **changes)
    message = (
        f"^flowers: the files in .*flowers-102 are not the published ones: {told}.*--sslbench-check-data loose.*fetch"
    )
    with pytest.raises(IncompleteDataError, match=message):
        load_dataset("flowers", settings(tmp_path))
    status = inspect("flowers", settings(tmp_path))
    assert status.state == "incomplete"
    (difference,) = status.missing
    dataset = load_dataset("flowers", settings(tmp_path, "loose"))
    assert dataset.details["complete"] is False
    assert dataset.details["fingerprint"]["differs"] == [difference]


def test_a_file_that_cannot_be_read_is_an_incomplete_dataset(tmp_path: Path) -> None:
    (build("flowers", tmp_path).root / "setid.mat").write_text("<html>")
    status = inspect("flowers", settings(tmp_path))
    assert status.state == "incomplete"
    assert "setid.mat" in status.missing[0]
    with pytest.raises(DataError, match=r"cannot read .*setid\.mat"):
        load_dataset("flowers", settings(tmp_path))


def test_the_first_complete_layout_is_used(tmp_path: Path) -> None:
    shutil.rmtree(build("food", tmp_path, "food/food-101").root / "images" / "baklava")
    build("food", tmp_path, "Food/food-101")
    assert load_dataset("food", settings(tmp_path, "loose")).details["layout"] == "official (Food/food-101)"
    build("food", tmp_path, "food-101")
    assert load_dataset("food", settings(tmp_path, "loose")).details["layout"] == "torchvision (food-101)"


def test_of_several_incomplete_layouts_the_nearest_is_reported(tmp_path: Path) -> None:
    """Kaggle's nested folders also look like the plain layout, in which every image would be missing."""
    root = build("cars", tmp_path, "stanford_cars:kaggle").root
    (root / "cars_test/cars_test/00002.jpg").unlink()
    with pytest.raises(IncompleteDataError, match=r"1 of the 6 images of test .*test/00002\.jpg"):
        load_dataset("cars", settings(tmp_path, "loose"))


def test_chestx_images_in_twelve_folders_are_missed_too(tmp_path: Path) -> None:
    root = build("chestx", tmp_path, "ChestX:kaggle").root
    folders = sorted(path for path in root.glob("images_*/images"))
    assert len(folders) == 12
    lost = sum(1 for image, _ in build_ids(tmp_path) if (folders[5] / image).exists())
    shutil.rmtree(folders[5])
    with pytest.raises(IncompleteDataError, match=rf"{lost} of the 49 images of all are absent"):
        load_dataset("chestx", settings(tmp_path, "loose"))


def build_ids(tmp_path: Path) -> list[tuple[str, int]]:
    return build("chestx", tmp_path / "ids").splits["all"]


def test_datasets_that_come_with_the_installation_are_ready(tmp_path: Path) -> None:
    for name in ("digits", "world-shape"):
        assert inspect(name, settings(tmp_path)).state == "ready"


def test_drawn_validation_has_the_published_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: Registries
) -> None:
    """Duplicated ids of other sizes would show in the fingerprint; the order of rows shows in the digest of rows."""
    built = build("pets", tmp_path)
    expected = publish(monkeypatch, registries, "pets", built, tmp_path)
    lists = built.root / "annotations" / "trainval.txt"
    lines = lists.read_text().splitlines()
    lists.write_text("\n".join(reversed(lines)) + "\n")
    with pytest.raises(IncompleteDataError, match="train: the list of images and labels is not the published one"):
        load_dataset("pets", settings(tmp_path))
    assert expected.images["train"] == len(lines)
    assert np.array_equal(sorted(lines), sorted(lists.read_text().splitlines()))
