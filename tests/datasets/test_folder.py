"""A user's folder of images: layouts, mistakes, fingerprints and unreadable files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.config import Settings
from sslbench.datasets import load_dataset
from sslbench.datasets.dataset import Dataset
from sslbench.datasets.families._folder_reading import load_folder
from sslbench.datasets.splits import stratified
from sslbench.errors import DataError

Fill = Callable[..., None]


def fill(root: Path, sizes: dict[str, int]) -> None:
    """Class folders of 8x8 pictures, each of its own colour, so that a colour identifies a picture."""
    for name, size in sizes.items():
        (root / name).mkdir(parents=True)
        for i in range(size):
            colour = (sum(root.name.encode()) % 256, sum(name.encode()) % 256, i)
            Image.new("RGB", (8, 8), colour).save(root / name / f"{i:03}.png")


def load(root: Path, bad_images: str = "fail") -> Dataset:
    return load_folder(f"folder:{root}", Settings(bad_images=bad_images))


def colours(dataset: Dataset, split: str) -> list[tuple[int, ...]]:
    images = dataset.splits[split].images
    return [image.getpixel((0, 0)) for image in images.load(range(len(images)))]


def test_train_val_test_are_taken_as_given(tmp_path: Path) -> None:
    for split, size in (("train", 4), ("val", 2), ("test", 3)):
        fill(tmp_path / split, {"cat": size, "ant": size + 1})
    dataset = load(tmp_path)
    assert dataset.classes == ("ant", "cat")
    assert dataset.details == {"split": "given"}
    assert {name: split.targets.values.tolist() for name, split in dataset.splits.items()} == {
        "train": [0] * 5 + [1] * 4, "val": [0] * 3 + [1] * 2, "test": [0] * 4 + [1] * 3,
    }  # fmt: skip
    for split, rows in dataset.splits.items():
        letters = [sum(dataset.classes[target].encode()) % 256 for target in rows.targets.values]
        assert [colour[1] for colour in colours(dataset, split)] == letters
        assert {colour[0] for colour in colours(dataset, split)} == {sum(split.encode()) % 256}


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_one_held_out_folder_is_the_test_split_and_val_a_fifth_of_train(held_out: str, tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 10, "b": 20})
    fill(tmp_path / held_out, {"a": 3, "b": 3})
    dataset = load(tmp_path)
    assert {colour[0] for colour in colours(dataset, "test")} == {sum(held_out.encode()) % 256}
    assert np.bincount(dataset.splits["val"].targets.values).tolist() == [2, 4]
    assert np.bincount(dataset.splits["train"].targets.values).tolist() == [8, 16]
    assert not set(colours(dataset, "train")) & set(colours(dataset, "val"))
    labels = np.repeat([0, 1], [10, 20])
    _, drawn = stratified(labels, (0.8, 0.2), 0)
    # The last channel counts the pictures of a class.
    assert [colour[2] for colour in colours(dataset, "val")] == [row if row < 10 else row - 10 for row in drawn]
    assert f"test from {held_out}/" in str(dataset.details["split"])
    assert dataset.details["split_seed"] == 0


def test_a_plain_folder_is_split_60_20_20(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 10, "b": 20})
    dataset = load(tmp_path)
    counts = {name: np.bincount(split.targets.values).tolist() for name, split in dataset.splits.items()}
    assert counts == {"train": [6, 12], "val": [2, 4], "test": [2, 4]}
    seen = [colour for split in dataset.splits for colour in colours(dataset, split)]
    assert len(seen) == len(set(seen)) == 30
    for split, rows in dataset.splits.items():
        assert [colour[1] == ord("b") for colour in colours(dataset, split)] == rows.targets.values.astype(
            bool
        ).tolist()


def test_nested_files_upper_case_endings_and_other_files(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 4, "b": 4})
    (tmp_path / "a" / "sub").mkdir()
    (tmp_path / "a" / "000.png").rename(tmp_path / "a" / "sub" / "000.PNG")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / ".git").mkdir()
    dataset = load(tmp_path)
    assert dataset.classes == ("a", "b")
    assert sum(len(split.targets) for split in dataset.splits.values()) == 8


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*absent; expected PATH/CLASS"):
        load(tmp_path / "absent")


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5, "b": 5, "hollow": 0})
    with pytest.raises(DataError, match=r"hollow: no image in this class folder"):
        load(tmp_path)


@pytest.mark.parametrize("sizes", [{}, {"only": 5}])
def test_fewer_than_two_classes_are_refused(sizes: dict[str, int], tmp_path: Path) -> None:
    fill(tmp_path, sizes)
    with pytest.raises(DataError, match=f"found {len(sizes)} class folders"):
        load(tmp_path)


def test_too_few_images_to_split_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(DataError, match="too few images to fill the val split"):
        load(tmp_path)


def test_differing_classes_are_named(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 3, "b": 3, "c": 3})
    fill(tmp_path / "test", {"a": 3, "b": 3, "d": 3})
    with pytest.raises(DataError, match="train and test name different classes: c, d"):
        load(tmp_path)


def test_fingerprints_follow_the_bytes_and_not_the_time(tmp_path: Path) -> None:
    root, copy = tmp_path / "one", tmp_path / "two"
    fill(root, {"a": 5, "b": 5})
    before = load(root)
    shutil.copytree(root, copy)
    for path in root.rglob("*.png"):
        os.utime(path, (1, 1))
    for same in (load(root), load(copy)):
        assert same.fingerprint == before.fingerprint
        for name, split in same.splits.items():
            assert split.images.fingerprint == before.splits[name].images.fingerprint
    changed = next(root.rglob("a/*.png"))
    stat, content = changed.stat(), bytearray(changed.read_bytes())
    content[-5] ^= 1
    changed.write_bytes(bytes(content))
    os.utime(changed, (stat.st_atime, stat.st_mtime))
    after = load(root)
    assert after.fingerprint != before.fingerprint
    differing = [
        name for name in after.splits if after.splits[name].images.fingerprint != before.splits[name].images.fingerprint
    ]
    assert len(differing) == 1


def test_the_policy_for_unreadable_images_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5, "b": 5})
    assert load(tmp_path).splits["test"].images.fingerprint != load(tmp_path, "skip").splits["test"].images.fingerprint


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    for split in ("train", "val", "test"):
        fill(tmp_path / split, {"a": 4, "b": 4})
    for name in ("a/001.png", "b/002.png"):
        path = tmp_path / "train" / name
        jpeg = path.with_suffix(".jpg")
        Image.open(path).resize((64, 64)).save(jpeg)
        jpeg.write_bytes(jpeg.read_bytes()[:-100])
        path.unlink()
    return tmp_path


def test_an_unreadable_image_is_named(damaged: Path) -> None:
    images = load(damaged).splits["train"].images
    with pytest.raises(DataError, match=r"train/a/001\.jpg"):
        images.load(range(len(images)))


def test_the_skip_policy_drops_it_and_targets_follow(damaged: Path) -> None:
    from sslbench.backbones import load_backbone
    from sslbench.features.extract import extract_features

    split = load(damaged, "skip").splits["train"]
    images = split.images.load(range(len(split.images)))
    assert [image is None for image in images] == [False, True, False, False, False, False, True, False]
    got = extract_features(load_backbone("pixels"), split.images, batch_size=3)
    assert got["rows"].tolist() == [0, 2, 3, 4, 5, 7]
    assert split.targets.values[got["rows"]].tolist() == [0, 0, 0, 1, 1, 1]
    # The green channel tells the class; the last 256 values of an embedding are blue, those before green.
    green = np.rint(got["x"][:, 256] * 255).astype(int)
    assert green.tolist() == [ord("a")] * 3 + [ord("b")] * 3


def test_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "pictures", {"a": 5, "b": 5})
    monkeypatch.setenv("HOME", str(tmp_path))
    dataset = load_dataset("folder:~/pictures", Settings(data_dir=tmp_path))
    assert dataset.name == "folder:~/pictures"
    assert dataset.fingerprint == load(tmp_path / "pictures").fingerprint


def test_a_relative_folder_is_found_below_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    for label in ("a", "b"):
        (tmp_path / "data" / "pets" / label).mkdir(parents=True)
        for index in range(5):
            Image.new("RGB", (4, 4), (index, 0, 0)).save(tmp_path / "data" / "pets" / label / f"{index}.png")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_folder("folder:pets", Settings(data_dir=tmp_path / "data")).classes == ("a", "b")
    with pytest.raises(DataError, match=r"elsewhere.pets or .*nowhere.pets.*--sslbench-data"):
        load_folder("folder:pets", Settings(data_dir=tmp_path / "nowhere"))
