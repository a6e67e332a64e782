"""`voc:PATH`: a small tree in PASCAL VOC's layout, against torchvision's reader, and everything that is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.config import Settings
from sslbench.datasets import Boxes, dataset_spec, inspect, load_dataset, tidy_folder
from sslbench.errors import DataError, DataWarning
from sslbench.tasks import dataset_tasks
from tests.datasets.voc_folder import CONTENTS, GIVEN, HEIGHT, WIDTH, Item, load, stems, write, xml


def test_boxes_are_those_that_torchvision_parses(tmp_path: Path) -> None:
    import torchvision

    root = write(tmp_path / "VOCdevkit" / "VOC2007", lists=GIVEN)
    dataset = load(root)
    assert dataset.classes == ("cat", "dog", "person")
    assert (dataset.target_type, dataset.metric) == (Boxes, None)
    assert dataset.details == {"split": "given", "images_without_objects": 1}
    for split, year in (("train", "2007"), ("val", "2007"), ("test", "2007")):
        reference = torchvision.datasets.VOCDetection(str(tmp_path), year=year, image_set=split)
        rows = dataset.splits[split]
        assert len(rows.targets) == len(reference) == 2
        for row, (image, parsed) in enumerate(reference):
            assert np.array_equal(np.asarray(image), np.asarray(rows.images.load([row])[0]))
            objects = rows.targets.load(row)
            annotated = parsed["annotation"].get("object", [])
            assert [dataset.classes[label] for label in objects.labels] == [item["name"] for item in annotated]
            assert objects.difficult.tolist() == [item.get("difficult") == "1" for item in annotated]
            corners = [[float(item["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax")] for item in annotated]
            wanted = [[x1 - 1, y1 - 1, x2, y2] for x1, y1, x2, y2 in corners]
            assert objects.boxes.tolist() == wanted
            assert (objects.boxes.dtype, objects.boxes.shape) == (np.float32, (len(wanted), 4))


def test_a_box_covers_the_pixels_that_it_names(tmp_path: Path) -> None:
    boxes = load(write(tmp_path, lists=GIVEN)).splits["train"].targets
    assert boxes.load(1).boxes.tolist() == [[0, 0, WIDTH, HEIGHT]]
    # One pixel, the third of the fourth row.
    assert boxes.load(0).boxes[0].tolist() == [2, 3, 3, 4]


@pytest.mark.parametrize(
    ("lists", "wanted", "told"),
    [
        (GIVEN, GIVEN, "given"),
        ({**GIVEN, "trainval": [*GIVEN["train"], *GIVEN["val"]]}, GIVEN, "given"),
        (
            {"trainval": list(CONTENTS)[:5], "test": ["000006"]},
            {"test": ["000006"]},
            "test from test.txt, val a fifth of trainval.txt",
        ),
        (
            {"train": list(CONTENTS)[:5], "val": ["000006"], "trainval": list(CONTENTS)},
            {"test": ["000006"]},
            "test from val.txt, val a fifth of train.txt",
        ),
        (
            {"train": list(CONTENTS)[:5], "test": ["000006"]},
            {"test": ["000006"]},
            "test from test.txt, val a fifth of train.txt",
        ),
        (None, {}, "drawn 60/20/20"),
    ],
)
def test_splits(lists: dict[str, list[str]] | None, wanted: dict[str, list[str]], told: str, tmp_path: Path) -> None:
    dataset = load(write(tmp_path, lists=lists))
    found = stems(dataset)
    assert {split: found[split] for split in wanted} == wanted
    assert sorted(stem for part in found.values() for stem in part) == sorted(CONTENTS)
    assert dataset.details["split"] == told
    assert dataset.details.get("split_seed") == (None if told == "given" else 0)
    if lists is None:
        assert {split: len(part) for split, part in found.items()} == {"train": 4, "val": 1, "test": 1}
    elif told != "given":
        assert len(found["val"]) == 1
    assert stems(load(tmp_path)) == found


def test_pictures_in_no_list_are_counted_and_their_classes_left_out(tmp_path: Path) -> None:
    contents = {**CONTENTS, "000007": [("zebra", (1, 1, 5, 5), "0")]}
    dataset = load(write(tmp_path, contents, GIVEN))
    assert dataset.classes == ("cat", "dog", "person")
    assert dataset.details == {"split": "given", "images_without_objects": 1, "pictures_in_no_list": 1}


def test_fingerprints_follow_content_and_not_place(tmp_path: Path) -> None:
    root = write(tmp_path / "one", lists=GIVEN)
    shutil.copytree(root, tmp_path / "two")
    before = load(root)
    assert load(tmp_path / "two").fingerprint == before.fingerprint
    annotation = root / "Annotations" / "000001.xml"
    annotation.write_text(annotation.read_text().replace("<xmax>20<", "<xmax>19<"))
    moved = load(root)
    assert moved.fingerprint != before.fingerprint
    assert moved.splits["train"].images.fingerprint == before.splits["train"].images.fingerprint
    Image.new("RGB", (WIDTH, HEIGHT), "white").save(tmp_path / "two" / "JPEGImages" / "000001.jpg")
    assert load(tmp_path / "two").splits["train"].images.fingerprint != before.splits["train"].images.fingerprint
    assert load(root, bad_images="skip").splits["test"].images.fingerprint != before.splits["test"].images.fingerprint


def test_links_hidden_files_and_names_that_are_not_utf8(tmp_path: Path) -> None:
    contents = {**CONTENTS, os.fsdecode(b"caf\xe9"): [("dog", (1, 1, 5, 5), "0")]}
    root = write(tmp_path / "data", contents, suffix="png")
    (root / "JPEGImages" / "._000001.png").write_bytes(b"macOS")
    (root / "Annotations" / "._000001.xml").write_bytes(b"macOS")
    moved = tmp_path / "elsewhere.png"
    shutil.move(root / "JPEGImages" / "000004.png", moved)
    (root / "JPEGImages" / "000004.png").symlink_to(moved)
    (root / "JPEGImages" / "Thumbs.db").write_bytes(b"Windows")
    with pytest.warns(DataWarning, match=r"^voc:\S+: not read: \.db: 1$"):
        dataset = load(root)
    assert dataset.details["not_read"] == {"other_files": {".db": 1}}
    assert sorted(stem for part in stems(dataset).values() for stem in part) == sorted(contents)
    listed = write(tmp_path / "listed", contents, {"train": list(CONTENTS)[:5], "test": ["000006"]})
    with (listed / "ImageSets" / "Main" / "test.txt").open("ab") as file:
        file.write(b"caf\xe9\n")
    assert stems(load(listed))["test"] == ["000006", os.fsdecode(b"caf\xe9")]


def test_pictures_in_two_splits_are_told(tmp_path: Path) -> None:
    root = write(tmp_path, lists=GIVEN)
    shutil.copy(root / "JPEGImages" / "000001.jpg", root / "JPEGImages" / "000005.jpg")
    with pytest.warns(DataWarning, match=r"1 of test are in train or val too \(such as JPEGImages/000005.jpg"):
        assert load(root).details["identical_pictures"] == {"test_also_in_train_or_val": 1}


def test_the_declaration(tmp_path: Path) -> None:
    root = write(tmp_path / "voc")
    spec = dataset_spec(f"voc:{root}")
    assert (spec.targets, spec.metric, spec.origin) == (Boxes, None, str(root))
    assert tidy_folder(f"voc:{root}/") == f"voc:{root}"
    assert not {task.protocol for task in dataset_tasks(f"voc:{root}")} & {"linear", "knn", "fewshot"}
    size = sum(path.stat().st_size for path in root.glob("JPEGImages/*"))
    assert (inspect(f"voc:{root}").state, inspect(f"voc:{root}").bytes) == ("ready", size)
    assert inspect(f"voc:{root}/none").state == "incomplete"
    assert load_dataset("voc:voc", Settings(data_dir=tmp_path)).fingerprint == load(root).fingerprint


def remove(name: str) -> object:
    return lambda root: (root / name).unlink()


def put(name: str, text: str) -> object:
    return lambda root: (root / name).write_text(text)


def put_objects(*items: Item) -> object:
    return lambda root: (root / "Annotations/000001.xml").write_text(xml("000001", items))


def two_suffixes(root: Path) -> None:
    shutil.copy(root / "JPEGImages/000001.jpg", root / "JPEGImages/000001.jpeg")


ONE = "Annotations/000001.xml"
BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>2</ymax></bndbox>"


@pytest.mark.parametrize(
    ("lists", "spoil", "told"),
    [
        (None, lambda root: shutil.rmtree(root / "JPEGImages"), r"has no JPEGImages; expected PATH/JPEGImages"),
        (None, lambda root: shutil.rmtree(root / "Annotations"), r"has no Annotations; expected"),
        (None, lambda root: [path.unlink() for path in root.glob("JPEGImages/*")], r"JPEGImages: no images"),
        (None, two_suffixes, r"000001\.jpeg and 000001\.jpg differ in their suffix only"),
        (None, remove(ONE), r"1 images without an annotation: 000001;"),
        (None, remove("JPEGImages/000002.jpg"), r"1 annotations without an image: 000002;"),
        (GIVEN, remove(ONE), r"1 listed images without an annotation: 000001;"),
        (GIVEN, remove("JPEGImages/000002.jpg"), r"1 listed images that are not in JPEGImages: 000002 \(train\.txt\);"),
        ({**GIVEN, "test": ["000001", "000001"]}, None, r"1 names that \S+ lists twice: 000001;"),
        ({"train": ["000001"]}, None, r"found train\.txt alone; expected train and test"),
        ({"test": ["000001"], "val": ["000002"]}, None, r"found val\.txt and test\.txt alone; expected"),
        ({"trainval": ["000001"], "val": ["000002"]}, None, r"trainval\.txt and val\.txt but no train\.txt"),
        ({}, None, r"has none of train\.txt, val\.txt, trainval\.txt, test\.txt"),
        ({**GIVEN, "test": []}, None, r"too few images to fill the test split"),
        (GIVEN, put(ONE, "<annotation><object>"), r"cannot read \S+000001\.xml: .*expected the XML"),
        (GIVEN, put(ONE, "<annotation><object/></annotation>"), r"000001\.xml: object 1: expected a <name>"),
        (
            GIVEN,
            put(ONE, f"<annotation><object><name>dog</name>{BOX.format('x')}</object></annotation>"),
            r"000001\.xml: object 1 \(dog\): expected numbers in <bndbox>.*'1', '1', 'x', '2'",
        ),
        (GIVEN, put_objects(("dog", (1, 1, "nan", 2), "0")), r"object 1 \(dog\): expected numbers"),
        (GIVEN, put_objects(("dog", (1, 1, 2, 2), "yes")), r"expected 0 or 1 as <difficult>, got 'yes'"),
        (
            GIVEN,
            put(ONE, '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation/>'),
            r"000001\.xml: a DTD or an entity",
        ),
        (
            GIVEN,
            lambda root: (root / ONE).write_text('<?xml version="1.0"?><!DOCTYPE a><annotation/>', encoding="utf-16"),
            r"000001\.xml: a DTD or an entity",
        ),
    ],
)
def test_refusals(lists: dict[str, list[str]] | None, spoil: object, told: str, tmp_path: Path) -> None:
    root = write(tmp_path, lists=lists)
    if callable(spoil):
        spoil(root)
    with pytest.raises(DataError, match=told):
        load(root)


def test_a_folder_that_is_not_there_and_one_that_lies_deeper(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder \S+nowhere; expected PATH/JPEGImages"):
        load(tmp_path / "nowhere")
    root = write(tmp_path / "VOCdevkit" / "VOC2007")
    with pytest.raises(DataError, match=rf"has no JPEGImages.*If {root} is meant, name voc:{root}"):
        load(tmp_path)


def test_no_object_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no annotation names an object"):
        load(write(tmp_path, {stem: [] for stem in CONTENTS}))


def test_an_unreadable_picture_is_told_when_it_is_decoded(tmp_path: Path) -> None:
    root = write(tmp_path, lists=GIVEN)
    (root / "JPEGImages" / "000001.jpg").write_bytes(b"no picture")
    images = load(root).splits["train"].images
    with pytest.raises(DataError, match=r"cannot read the image \S+000001\.jpg"):
        images.load([1])
    assert load(root, bad_images="skip").splits["train"].images.load([1]) == [None]


def test_an_annotation_of_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "voc")
    path = root / "Annotations/000002.xml"
    path.write_text(path.read_text().replace(f"<width>{WIDTH}<", f"<width>{WIDTH + 1}<"))
    with pytest.raises(DataError, match=rf"1 annotations are of an image of another size: 000002\.xml \({WIDTH + 1} x"):
        load(root)
    # Some tools write zeros where they do not know.
    path.write_text(path.read_text().replace(f"<width>{WIDTH + 1}<", "<width>0<"))
    assert load(root).splits
