"""`voc:PATH`: what the lines of a split's list may look like, and which pictures they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslbench.datasets import Dataset
from sslbench.datasets.families._voc_lists import Names
from sslbench.errors import DataError, DataWarning
from tests.datasets.voc_folder import CONTENTS, GIVEN, Item, load, stems, write


def listed(root: Path, split: str, content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    (root / f"ImageSets/Main/{split}.txt").write_bytes(data)


@pytest.mark.parametrize(
    "content",
    [
        "000002\n000001\n",
        "000002.jpg\n000001.jpg\n",
        "000002.JPG\r\n000001.xml\r\n",
        "JPEGImages/000002.jpg\nJPEGImages/000001\n",
        "JPEGImages\\000002.jpg\r\nJPEGImages\\000001.jpg\r\n",
        "C:\\data\\VOC\\JPEGImages\\000002.jpg\n.\\Annotations\\000001.xml\n",
        "./000002\n/home/me/images/000001.png\n",
        "000002  1\n000001 -1\n",
        "000002.jpg 0\nJPEGImages\\000001.jpg 1",
        "  000002\t \n\n\n 000001  ",
        b"\xef\xbb\xbf000002\r\n000001\r\n",
    ],
)
@pytest.mark.filterwarnings("error")
def test_one_meaning_many_spellings(content: str | bytes, tmp_path: Path) -> None:
    root = write(tmp_path, lists=GIVEN)
    listed(root, "train", content)
    dataset = load(root)
    assert stems(dataset) == GIVEN
    assert dataset.details == {"split": "given", "images_without_objects": 1}


@pytest.mark.parametrize(
    "names",
    [
        ["my photo", "my other photo", "a  b", "c", "d"],
        # Two columns, and yet these are the names.
        ["photo 1", "photo 0", "photo -1", "picture 1", "picture 0"],
        ["v1.2", "v1.3", "x.jpg", "y.png.old", "z."],
        ["é", "日本", "ÄÖ", "ß", "a'b\"c"],
    ],
)
@pytest.mark.filterwarnings("error")
def test_names_stay_whole(names: list[str], tmp_path: Path) -> None:
    box: list[Item] = [("dog", (1, 1, 2, 2), "0")]
    root = write(tmp_path, dict.fromkeys([*names, "other"], box), {"train": names, "val": ["other"]})
    dataset = load(root)
    assert sorted([*paths(dataset, "train"), *paths(dataset, "val")]) == sorted(
        str(root / "JPEGImages" / f"{name}.jpg") for name in names
    )


def paths(dataset: Dataset, split: str) -> list[str]:
    return [str(path) for path in dataset.splits[split].images.paths]


def test_a_second_column_counts_only_where_every_line_has_it(tmp_path: Path) -> None:
    root = write(tmp_path, lists=GIVEN)
    listed(root, "train", "000002 1\n000001\n")
    with pytest.raises(DataError, match=r"1 listed images that are not in JPEGImages: 000002 1 \(train\.txt\);"):
        load(root)
    listed(root, "train", "000002 1\n000001 2\n")
    with pytest.raises(
        DataError, match=r"2 listed images that are not in JPEGImages: 000002 1 \(train\.txt\), 000001 2"
    ):
        load(root)


@pytest.mark.filterwarnings("error")
def test_lists_of_single_classes_are_ignored(tmp_path: Path) -> None:
    root = write(tmp_path, lists=GIVEN)
    listed(root, "cat_train", "nowhere 1\n")
    listed(root, "dog_trainval", "nowhere 1\n")
    assert stems(load(root)) == GIVEN


def test_another_case_is_told_where_one_file_can_be_meant(tmp_path: Path) -> None:
    box: list[Item] = [("dog", (1, 1, 2, 2), "0")]
    root = write(tmp_path, {"Foo": box, "bar": box, "baz": box}, {"train": ["foo"], "val": ["bar"], "test": ["baz"]})
    listed(root, "val", "JPEGIMAGES\\BAR.JPG\n")
    with pytest.warns(
        DataWarning, match=r"2 names differ in case.*: listed as foo, on disk Foo, listed as JPEGIMAGES\\BAR"
    ):
        dataset = load(root)
    assert stems(dataset) == {"train": ["Foo"], "val": ["bar"], "test": ["baz"]}
    assert dataset.details == {"split": "given", "names_in_another_case": 2}


def test_another_case_is_refused_where_several_files_can_be_meant(tmp_path: Path) -> None:
    box: list[Item] = [("dog", (1, 1, 2, 2), "0")]
    names = {"Foo": box, "foo": box, "bar": box, "baz": box}
    root = write(tmp_path, names, {"train": ["FOO"], "val": ["bar"], "test": ["baz"]})
    with pytest.raises(
        DataError, match=r"1 listed images of which several differ in case: listed as FOO, on disk F?f?oo and"
    ):
        load(root)
    # Who writes it as it is means one of them.
    listed(root, "train", "foo\n")
    assert stems(load(root))["train"] == ["foo"]


def test_one_picture_by_two_names_is_listed_twice(tmp_path: Path) -> None:
    root = write(tmp_path, lists=GIVEN)
    listed(root, "test", "000005\nJPEGImages/000005.jpg\n000001.jpg\n")
    with pytest.raises(DataError, match=r"2 names that \S+ lists twice: 000005, 000001;"):
        load(root)


@pytest.mark.parametrize("lists", [GIVEN, None])
def test_annotations_in_another_case(lists: dict[str, list[str]] | None, tmp_path: Path) -> None:
    box: list[Item] = [("dog", (1, 1, 2, 2), "0")]
    contents = {**CONTENTS, "000001": box}
    root = write(tmp_path, {f"img{stem}": items for stem, items in contents.items()}, in_images(lists))
    (root / "Annotations/img000001.xml").rename(root / "Annotations/IMG000001.XML")
    with pytest.warns(
        DataWarning, match=r"1 names differ in case from their files: IMG000001\.xml for the image img000001"
    ):
        dataset = load(root)
    assert dataset.details["names_in_another_case"] == 1
    (root / "Annotations/Img000001.xml").write_text("<annotation/>")
    with pytest.raises(
        DataError, match=r"1 images with annotations that differ in case: img000001 with IMG000001 and Img0"
    ):
        load(root)


def in_images(lists: dict[str, list[str]] | None) -> dict[str, list[str]] | None:
    return lists and {split: [f"img{stem}" for stem in part] for split, part in lists.items()}


def test_directories_count_where_pictures_lie_in_some() -> None:
    flat, deep = Names(["foo", "bar"]), Names(["foo", "b/foo"])
    assert flat.exact("a/foo") == "foo"
    # The `foo` that lies elsewhere is not guessed.
    assert deep.exact("a/foo") is None
    assert deep.in_another_case("a/foo") == []
    assert deep.exact("b\\foo.jpg") == "b/foo"
    assert deep.exact("VOC2007/JPEGImages/foo.jpg") == "foo"
    assert deep.exact("x/JPEGImages/b/foo") == "b/foo"
    assert deep.in_another_case("B/Foo") == ["b/foo"]


@pytest.mark.filterwarnings("error")
def test_pictures_in_subfolders_are_listed_with_them(tmp_path: Path) -> None:
    root = write(tmp_path, lists=GIVEN)
    for folder in ("JPEGImages", "Annotations"):
        (root / folder / "more").mkdir()
    (root / "JPEGImages/000001.jpg").rename(root / "JPEGImages/more/000001.jpg")
    (root / "Annotations/000001.xml").rename(root / "Annotations/more/000001.xml")
    listed(root, "train", "000002\nJPEGImages\\more\\000001.jpg\n")
    assert paths(load(root), "train") == [str(root / f"JPEGImages/{name}.jpg") for name in ("000002", "more/000001")]


@pytest.mark.parametrize("place", ["ImageSets/train.txt", "ImageSets/Segmentation/train.txt"])
def test_lists_elsewhere_are_not_passed_over(place: str, tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / place).parent.mkdir(parents=True)
    (root / place).write_text("000001\n")
    with pytest.raises(
        DataError, match=rf"ImageSets has no Main, but {place.removeprefix('ImageSets/')}; move the lists"
    ):
        load(root)
    (root / place).unlink()
    assert load(root).details["split"] == "drawn 60/20/20"


def test_lists_by_other_names_are_named(tmp_path: Path) -> None:
    root = write(tmp_path, lists={"Training": ["000001"]})
    with pytest.raises(
        DataError, match=r"has none of train\.txt, val\.txt, trainval\.txt, test\.txt, but Training\.txt; add"
    ):
        load(root)


def test_a_list_in_utf16_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path, lists=GIVEN)
    listed(root, "train", "000002\n000001\n".encode("utf-16"))
    with pytest.raises(
        DataError, match=r"train\.txt: expected a name a line, got zero bytes, as in UTF-16; save it as UTF-8"
    ):
        load(root)
