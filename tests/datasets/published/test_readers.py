"""Every dataset through its real reader, on tiny archives in each layout: order, labels, pictures, splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sslbench.config import Settings
from sslbench.datasets import Dataset, list_datasets, load_dataset
from sslbench.datasets.published.facts import histogram
from sslbench.datasets.registry import dataset_spec
from sslbench.datasets.splits import study_validation
from sslbench.errors import DataError
from sslbench.studies.ericsson2021 import STUDY
from tests.datasets.published.builders import LAYOUTS, Built, build

OWN_VAL = ("aircraft", "dtd", "flowers", "voc2007")
FEWSHOT_ONLY = ("cropdiseases", "eurosat", "isic", "chestx")
CASES = [(name, layout) for name, layouts in LAYOUTS.items() if name != "caltech101" for layout in layouts]


def load(name: str, data_dir: Path, **choices: str) -> Dataset:
    return load_dataset(name, Settings(data_dir=data_dir, check_data="loose", compat=choices))


def pictures(dataset: Dataset, split: str) -> list[np.ndarray]:
    """Decoded in two portions, so that offsets count."""
    images = dataset.splits[split].images
    half = len(images) // 2
    return [np.asarray(image) for image in [*images.load(range(half)), *images.load(range(half, len(images)))]]


def official_rows(name: str, built: Built) -> dict[str, list[tuple[str, int]]]:
    """The truth, split by split; where validation is drawn, from the official training rows by the study's rule."""
    if "val" in built.splits or "all" in built.splits:
        return built.splits
    train, val = (np.sort(rows) for rows in study_validation(len(built.splits["train"])))
    listed = built.splits["train"]
    return {"train": [listed[i] for i in train], "val": [listed[i] for i in val], "test": built.splits["test"]}


def test_all_fifteen_are_here() -> None:
    study = [name for name in list_datasets() if name in STUDY.datasets]
    assert sorted(LAYOUTS) == study
    assert len(study) == 15


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_order_labels_and_pictures(name: str, layout: str, tmp_path: Path) -> None:
    built = build(name, tmp_path, layout)
    dataset = load(name, tmp_path)
    assert dataset.classes == built.classes
    assert dataset.metric == dataset_spec(name).metric
    truth = official_rows(name, built)
    assert list(dataset.splits) == list(truth)
    for split, rows in truth.items():
        assert dataset.splits[split].targets.values.tolist() == [label for _, label in rows]
        assert dataset.splits[split].targets.values.dtype == (np.int8 if name == "voc2007" else np.int64)
        seen = pictures(dataset, split)
        assert len(seen) == len(rows)
        for picture, (image, _) in zip(seen, rows, strict=True):
            assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
            # JPEG and CMYK round by a few levels; the ids' colours are much further apart.
            np.testing.assert_allclose(picture[-1, -1].astype(int), built.colours[image], atol=4)
    base = layout.partition(":")[0]
    assert dataset.details["layout"].endswith(f"({base})")


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "caltech101"])
def test_splits_details_and_fingerprint(name: str, tmp_path: Path) -> None:
    built = build(name, tmp_path)
    dataset = load(name, tmp_path)
    if name in FEWSHOT_ONLY:
        assert dataset.pool == ("all",)
        assert "val" not in dataset.details
    else:
        assert dataset.pool == ("train", "val", "test")
        drawn = f"first fifth of {len(built.splits['train'])} train rows, shuffled with seed 0"
        assert dataset.details["val"] == ("official" if name in OWN_VAL else drawn)
    assert dataset.details["complete"] is False
    stated = dict(dataset.details["fingerprint"])
    assert stated.pop("differs")
    assert {split: part["images"] for split, part in stated.items()} == {
        split: len(rows) for split, rows in built.splits.items()
    }
    for split, rows in dataset.splits.items():
        assert rows.images.fingerprint.startswith(f"{name}:")
        assert min(histogram(rows.targets, len(built.classes))) > 0 or split == "val"


@pytest.mark.parametrize("name", LAYOUTS)
def test_another_layout_is_the_same_data(name: str, tmp_path: Path) -> None:
    """The same images in another place hit the same cache."""
    first, other = LAYOUTS[name][0], LAYOUTS[name][-1]
    build(name, tmp_path / "one", first)
    build(name, tmp_path / "two", other)
    one, two = load(name, tmp_path / "one"), load(name, tmp_path / "two")
    assert one.fingerprint == two.fingerprint
    assert {layout.partition(":")[0] for layout in (first, other)} == {
        str(dataset.details["layout"]).split("(")[1].rstrip(")") for dataset in (one, two)
    }


@pytest.mark.parametrize("name", ["flowers", "cifar10", "chestx"])
def test_other_pictures_have_another_fingerprint(name: str, tmp_path: Path) -> None:
    build(name, tmp_path)
    before = load(name, tmp_path)
    split = "all" if name == "chestx" else "test"
    if name == "cifar10":
        path = tmp_path / "cifar10/cifar-10-batches-py/test_batch"
        content = bytearray(path.read_bytes())
        # Some byte of the pixels.
        content[3000] ^= 1
        path.write_bytes(bytes(content))
    else:
        folder = tmp_path / {"flowers": "flowers-102/jpg", "chestx": "ChestX/images"}[name]
        for path in folder.iterdir():
            path.write_bytes(path.read_bytes() + b"\0")
    after = load(name, tmp_path)
    assert after.splits[split].images.fingerprint != before.splits[split].images.fingerprint
    assert after.fingerprint != before.fingerprint


def test_pictures_are_opened_when_read_and_not_before(tmp_path: Path) -> None:
    build("food", tmp_path)
    for path in (tmp_path / "food/food-101/images").rglob("*.jpg"):
        path.write_bytes(b"no picture")
    dataset = load("food", tmp_path)
    with pytest.raises(DataError, match=r"cannot read the image .*apple_pie"):
        dataset.splits["test"].images.load(range(1))


def test_unreadable_pictures_are_left_out_under_skip(tmp_path: Path) -> None:
    built = build("pets", tmp_path)
    image = built.splits["test"][1][0]
    (built.root / "images" / f"{image}.jpg").write_bytes(b"no picture")
    settings = Settings(data_dir=tmp_path, check_data="loose", bad_images="skip")
    dataset = load_dataset("pets", settings)
    read = dataset.splits["test"].images.load(range(3))
    assert [picture is None for picture in read] == [False, True, False]
    assert dataset.fingerprint != load("pets", tmp_path).fingerprint


def test_cifar_pixels_are_rows_of_planes(tmp_path: Path) -> None:
    """The builder whitens the second pixel of the first row: planes, then rows, then columns."""
    build("cifar100", tmp_path)
    picture = load("cifar100", tmp_path).splits["test"].images.load(range(3, 4))[0]
    assert picture.shape == (32, 32, 3)
    white = (picture == 255).all(axis=2)
    assert np.argwhere(white).tolist() == [[0, 1]]


def test_cifar_reads_rows_of_several_files(tmp_path: Path) -> None:
    built = build("cifar10", tmp_path)
    images = load("cifar10", tmp_path).splits["val"].images
    _, val = study_validation(len(built.splits["train"]))
    files = {built.splits["train"][row][0].partition("/")[0] for row in val}
    assert len(files) > 2
    np.testing.assert_array_equal(images.load(range(2, 5)), images.load(range(len(images)))[2:5])


@pytest.mark.parametrize("name", OWN_VAL[:3])
def test_the_few_shot_pool_follows_its_switch(name: str, tmp_path: Path) -> None:
    build(name, tmp_path)
    assert load(name, tmp_path).pool == ("train", "val", "test")
    assert load(name, tmp_path, **{"fewshot-pool": "without-val"}).pool == ("train", "test")


@pytest.mark.parametrize("name", ["voc2007", "pets", "eurosat"])
def test_the_few_shot_pool_of_the_others_does_not(name: str, tmp_path: Path) -> None:
    build(name, tmp_path)
    dataset = load(name, tmp_path, **{"fewshot-pool": "without-val"})
    assert dataset.pool == load(name, tmp_path).pool
