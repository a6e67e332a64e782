"""Rules of single datasets that move numbers, each against a truth written out by hand."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from sslbench.config import Settings
from sslbench.datasets import Dataset, load_dataset
from sslbench.datasets.decoding import read_image
from sslbench.datasets.published import chestx
from sslbench.datasets.published._cifar import read_pickle
from sslbench.datasets.published.sun397 import _label
from sslbench.errors import DataError
from tests.datasets.published.builders import build


def load(name: str, data_dir: Path, **choices: str) -> Dataset:
    return load_dataset(name, Settings(data_dir=data_dir, check_data="loose", compat=choices))


def refused(name: str, data_dir: Path, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(name, data_dir)


def test_voc_labels_become_present_absent_and_difficult(tmp_path: Path) -> None:
    """The builder marks column c of row r by (1, -1, -1, 0)[(r + c) % 4], written with double spaces."""
    build("voc2007", tmp_path)
    line = (tmp_path / "voc2007/VOCdevkit/VOC2007/ImageSets/Main/aeroplane_train.txt").read_text().splitlines()[0]
    assert line == "000003  1"
    official = load("voc2007", tmp_path)
    assert official.splits["train"].targets.values[:4, :4].tolist() == [
        [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0],
    ]  # fmt: skip
    ignoring = load("voc2007", tmp_path, **{"voc2007-difficult": "ignored"})
    assert ignoring.splits["train"].targets.values[:4, :4].tolist() == [
        [1, 0, 0, -1], [0, 0, -1, 1], [0, -1, 1, 0], [-1, 1, 0, 0],
    ]  # fmt: skip
    assert ignoring.fingerprint != official.fingerprint
    # The pictures are the same, and so are their features.
    assert ignoring.splits["train"].images.fingerprint == official.splits["train"].images.fingerprint


def test_voc_lists_must_agree_and_hold_labels(tmp_path: Path) -> None:
    main = build("voc2007", tmp_path).root / "ImageSets" / "Main"
    text = (main / "cat_val.txt").read_text()
    (main / "cat_val.txt").write_text(text.replace(" 1\n", " 2\n", 1))
    refused("voc2007", tmp_path, r"cat_val\.txt: expected labels 1, 0 and -1, got '2'")
    (main / "cat_val.txt").write_text("".join(text.splitlines(keepends=True)[1:]))
    refused("voc2007", tmp_path, r"cat_val\.txt lists other images than aeroplane_val\.txt")
    (main / "cat_val.txt").write_text("000012\n")
    refused("voc2007", tmp_path, r"cat_val\.txt: row 1: expected 'IMAGE LABEL', got '000012'")


def test_food_goes_by_classes_txt_and_not_by_the_keys(tmp_path: Path) -> None:
    root = build("food", tmp_path, classes=2).root
    for split, listed in (
        ("train", {"b": ["b/2", "b/1", "b/3"], "a": ["a/9", "a/8"]}),
        ("test", {"a": ["a/1"], "b": ["b/9"]}),
    ):
        (root / "meta" / f"{split}.json").write_text(json.dumps(listed))
        for name in [*listed["a"], *listed["b"]]:
            (root / "images" / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (4, 4)).save(root / "images" / f"{name}.jpg")
    (root / "meta" / "classes.txt").write_text("a\nb\n")
    dataset = load("food", tmp_path)
    # Of five rows, a/9 a/8 b/2 b/1 b/3, the shuffle with seed 0 draws row 2 for validation.
    assert dataset.splits["train"].targets.values.tolist() == [0, 0, 1, 1]
    assert dataset.splits["val"].targets.values.tolist() == [1]
    (root / "meta" / "classes.txt").write_text("a\nb\nc\n")
    refused("food", tmp_path, r"train\.json and classes\.txt name different classes: c")
    (root / "meta" / "train.json").write_text("{")
    refused("food", tmp_path, r"cannot read .*train\.json")
    (root / "meta" / "train.json").write_text("[]")
    refused("food", tmp_path, r"train\.json: expected a JSON object, got a list")


def test_sun397_takes_the_first_class_that_occurs_in_the_path() -> None:
    classes = ("abbey", "apartment_building/outdoor", "church/indoor", "church/outdoor", "outdoor")
    assert [_label(folder, classes) for folder in ("/a/abbey", "/c/church/outdoor", "/o/outdoor")] == [0, 3, 4]
    # A later class whose name is part of the path does not win, an earlier one does.
    assert _label("/c/church/outdoor", ("church/outdoor", "outdoor")) == 0
    assert _label("/z/zoo/abbey", ("abbey", "zoo/abbey")) == 0
    with pytest.raises(DataError, match=r"no class of ClassName\.txt occurs in /b/abbeys"):
        _label("/b/abbeys", classes)


def test_chestx_is_shrunk_before_it_becomes_rgb(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 256, size=(300, 310), dtype=np.uint8))
    colour = Image.fromarray(rng.integers(0, 256, size=(300, 310, 4), dtype=np.uint8), mode="RGBA")
    palette = colour.convert("RGB").quantize(16)
    for number, image in enumerate((grey, colour, palette)):
        image.save(tmp_path / f"{number}.png")
        expected = Image.open(tmp_path / f"{number}.png").resize((256, 256)).convert("RGB")
        got = read_image(tmp_path / f"{number}.png", chestx.shrink)
        np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))
    # For a palette the order matters: its numbers cannot be interpolated.
    other = palette.convert("RGB").resize((256, 256))
    assert not np.array_equal(np.asarray(got), np.asarray(other))


def test_chestx_pictures_come_out_at_256(tmp_path: Path) -> None:
    build("chestx", tmp_path)
    images = load("chestx", tmp_path).splits["all"].images
    assert {image.size for image in images.load(range(5))} == {(256, 256)}


def test_chestx_keeps_rows_with_one_of_its_findings(tmp_path: Path) -> None:
    root = build("chestx", tmp_path).root
    rows = [
        ("a.png", "Mass"), ("b.png", "No Finding"), ("c.png", "Mass|Nodule"), ("d.png", "Pneumonia"), ("e.png", "Hernia"),
        ("f.png", "Atelectasis"), ("g.png", "Atelectasis|Hernia"), ("h.png", "Pneumothorax"),
    ]  # fmt: skip
    header = "Image Index,Finding Labels,Follow-up #,OriginalImage[Width,Height],\n"
    (root / "Data_Entry_2017.csv").write_text(header + "".join(f"{image},{found},0,1,2,\n" for image, found in rows))
    for image, _ in rows:
        Image.new("L", (8, 8)).save(root / "images" / image)
    dataset = load("chestx", tmp_path)
    assert dataset.splits["all"].targets.values.tolist() == [4, 0, 6]
    (root / "Data_Entry_2017.csv").write_text(header + "a.png\n")
    refused("chestx", tmp_path, r"Data_Entry_2017\.csv: row 2: expected at least 2 columns, got \['a\.png'\]")


def test_isic_takes_the_marked_column_and_refuses_two(tmp_path: Path) -> None:
    root = build("isic", tmp_path).root
    table = root / "ISIC2018_Task3_Training_GroundTruth" / "ISIC2018_Task3_Training_GroundTruth.csv"
    lines = table.read_text().splitlines()
    assert lines[0] == "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
    table.write_text("\n".join([lines[0], "ISIC_0024306,0.0,0.0,0.0,0.0,0.0,0.0,1.0", *lines[2:]]))
    assert load("isic", tmp_path).splits["all"].targets.values[0] == 6
    for row, message in (
        ("ISIC_0024306,1.0,0.0,0.0,0.0,0.0,0.0,1.0", "expected one class for ISIC_0024306"),
        ("ISIC_0024306,0,0,0,0,0,0,0", "expected one class for ISIC_0024306"),
        ("ISIC_0024306,nv,0,0,0,0,0,0", "expected numbers after the image's name, got 'nv'"),
        ("ISIC_0024306,0,1", "row 2: expected at least 8 columns"),
    ):
        table.write_text(f"{lines[0]}\n{row}\n")
        refused("isic", tmp_path, message)


def test_cropdiseases_takes_the_train_folder_alone(tmp_path: Path) -> None:
    root = build("cropdiseases", tmp_path, classes=2, sizes={"train": 2}).root
    assert (root.parent / "test").is_dir()
    dataset = load("cropdiseases", tmp_path)
    assert dataset.classes == ("Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot", "Tomato___healthy")
    assert dataset.splits["all"].targets.values.tolist() == [0, 0, 1, 1]


def test_aircraft_names_hold_spaces_and_slashes(tmp_path: Path) -> None:
    root = build("aircraft", tmp_path).root
    assert (root / "images_variant_train.txt").read_text().splitlines()[0].endswith(" Cessna 172")
    dataset = load("aircraft", tmp_path)
    assert dataset.classes == ("707-320", "Cessna 172", "F-16A/B")
    # The official list starts with the Cessna.
    assert dataset.splits["train"].targets.values[:3].tolist() == [1, 0, 2]


def test_pets_with_a_number_for_two_breeds_are_refused(tmp_path: Path) -> None:
    lists = build("pets", tmp_path).root / "annotations"
    text = (lists / "test.txt").read_text()
    (lists / "test.txt").write_text(text.replace("american_bulldog_1 2 1 2", "american_bulldog_1 1 1 1"))
    refused("pets", tmp_path, "gives american_bulldog_1 the class 1, which Abyssinian has")
    (lists / "test.txt").write_text(text.replace("american_bulldog_1 2 1 2", "american_bulldog_1 x 1 2"))
    refused("pets", tmp_path, r"test\.txt: expected class numbers, .*'x'")


def test_cars_with_the_unlabelled_test_list_are_refused(tmp_path: Path) -> None:
    root = build("cars", tmp_path).root
    table = np.array([(1, 2, 3, 4, "00001.jpg")], dtype=[(name, "O") for name in ("a", "b", "c", "d", "fname")])
    savemat(root / "cars_test_annos_withlabels.mat", {"annotations": table[None]})
    refused("cars", tmp_path, r"expected annotations with fields class and fname, found a, b, c, d, fname.*withlabels")
    savemat(root / "cars_test_annos_withlabels.mat", {"other": table[None]})
    refused("cars", tmp_path, r"withlabels\.mat: expected annotations, found other")
    (root / "cars_test_annos_withlabels.mat").write_text("<html>")
    refused("cars", tmp_path, r"cannot read .*withlabels\.mat")


def test_cars_with_a_class_out_of_range_are_refused(tmp_path: Path) -> None:
    root = build("cars", tmp_path).root
    names = np.array(["one", "two"], dtype=object)[None]
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": names})
    refused("cars", tmp_path, r"cars_train_annos\.mat: expected classes from 1 to 2")


def test_flowers_with_an_image_number_too_large_are_refused(tmp_path: Path) -> None:
    root = build("flowers", tmp_path).root
    savemat(root / "imagelabels.mat", {"labels": np.ones((1, 5), dtype=np.uint8)})
    refused("flowers", tmp_path, r"setid\.mat names images up to \d+, but imagelabels\.mat labels 5")


def test_dtd_classes_are_the_folders(tmp_path: Path) -> None:
    root = build("dtd", tmp_path).root
    (root / "images" / "woven").mkdir()
    assert load("dtd", tmp_path).classes == ("banded", "polka-dotted", "woven", "zigzagged")


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harmed",)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": Harmful()}))
    with pytest.raises(DataError, match=r"it asks for (posix|nt)\.system, which a file of arrays does not need"):
        read_pickle(tmp_path / "batch")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_of_python_3_is_read_too(protocol: int, tmp_path: Path) -> None:
    pixels = np.arange(6144, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": pixels, "labels": [1, 2]}, protocol))
    np.testing.assert_array_equal(read_pickle(tmp_path / "batch")["data"], pixels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "cannot read .*test_batch"),
        (pickle.dumps([1]), "expected a pickled dictionary, got a list"),
        (pickle.dumps({"data": [1], "labels": [1]}, 2), r"expected data as uint8 \(N, 3072\), got list"),
        (
            pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 99]}, 2),
            "2 numbers from 0 to 2, got int64",
        ),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8)}, 2), r"expected labels, 2 numbers.* got float64 \(0,\)"),
    ],
)
def test_cifar_files_that_are_none_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (build("cifar10", tmp_path).root / "test_batch").write_bytes(content)
    refused("cifar10", tmp_path, message)
