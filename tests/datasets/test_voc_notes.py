"""`voc:PATH`: what is not as expected and yet no error is counted in the details and told once."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from sslbench.datasets import Dataset
from sslbench.errors import DataError, DataWarning
from tests.datasets.voc_folder import CONTENTS, GIVEN, HEIGHT, WIDTH, Item, load, write, xml

ONE = "Annotations/000001.xml"


def told(root: Path) -> tuple[Dataset, list[str]]:
    """The dataset and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load(root)
    assert all(warning.category is DataWarning for warning in caught)
    return dataset, [str(warning.message) for warning in caught]


def with_objects(root: Path, *items: Item) -> Path:
    """A folder whose picture 000001, the second of train, has these objects."""
    write(root, lists=GIVEN)
    (root / ONE).write_text(xml("000001", items))
    return root


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def pixels(left: float, top: float, right: float, bottom: float) -> set[tuple[int, int]]:
    """The pixels of the picture that VOC's corners name: counted from 1, the last ones inside."""
    return {(x, y) for x in range(WIDTH) for y in range(HEIGHT) if left <= x + 1 <= right and top <= y + 1 <= bottom}


def test_nothing_is_told_where_all_is_as_expected(tmp_path: Path) -> None:
    dataset, messages = told(write(tmp_path, lists=GIVEN))
    assert messages == []
    assert dataset.details == {"split": "given", "images_without_objects": 1}


def test_boxes_are_cut_to_the_pixels_that_there_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    corners = np.concatenate([rng.integers(-4, 27, (60, 2)), rng.integers(-4, 27, (60, 2))], axis=1).tolist()
    dataset, (message,) = told(with_objects(tmp_path, *(("cat", box, "0") for box in corners)))
    covered = [(box, found) for box in corners if (found := pixels(*box))]
    objects = dataset.splits["train"].targets.load(1)
    assert objects.boxes.dtype == np.float32
    assert [pixels(x1 + 1, y1 + 1, x2, y2) for x1, y1, x2, y2 in objects.boxes.tolist()] == [
        found for _, found in covered
    ]
    clipped = sum(box[0] < 1 or box[1] < 1 or box[2] > WIDTH or box[3] > HEIGHT for box, _ in covered)
    lost = len(corners) - len(covered)
    assert min(clipped, lost) > 5
    assert (dataset.details["boxes_clipped"], dataset.details["boxes_left_out"]) == (clipped, lost)
    assert f"{clipped} boxes reach out of their image and are clipped to it (VOC counts pixels from 1" in message
    assert f"{lost} boxes have no area in their image and are left out: cat " in message


@pytest.mark.parametrize(
    ("box", "wanted", "what"),
    [
        ((0, 0, 5, 5), [0, 0, 5, 5], "boxes_clipped"),
        ((-3, 1, 5, 99), [0, 0, 5, HEIGHT], "boxes_clipped"),
        ((1, 1, WIDTH + 0.5, 2), [0, 0, WIDTH, 2], "boxes_clipped"),
        ((1, 1, WIDTH, HEIGHT), [0, 0, WIDTH, HEIGHT], ""),
        ((5, 5, 4, 9), None, "boxes_left_out"),
        ((5, 5, 1, 1), None, "boxes_left_out"),
        ((WIDTH + 1, 1, WIDTH + 9, 5), None, "boxes_left_out"),
        ((-9, -9, 0, 0), None, "boxes_left_out"),
        # Of this width float32 keeps nothing.
        ((11, 1, 10.0000001, 5), None, "boxes_left_out"),
    ],
)
def test_a_box_outside(box: tuple[float, ...], wanted: list[float] | None, what: str, tmp_path: Path) -> None:
    items: list[Item] = [("person", box, "1"), ("dog", (2, 2, 3, 3), "0")]
    dataset, messages = told(with_objects(tmp_path, *items))
    objects = dataset.splits["train"].targets.load(1)
    kept = [] if wanted is None else [wanted]
    assert objects.boxes.tolist() == [*kept, [1, 1, 3, 3]]
    assert objects.difficult.tolist() == [True, False][2 - len(objects) :]
    assert [dataset.classes[label] for label in objects.labels] == ["person", "dog"][2 - len(objects) :]
    assert {key: count for key, count in dataset.details.items() if key.startswith("boxes_")} == (
        {what: 1} if what else {}
    )
    assert len(messages) == bool(what)
    if what:
        x1, y1, x2, y2 = box
        assert f"1 boxes {'reach out' if wanted else 'have no area'}" in messages[0]
        assert f"person {x1:g}, {y1:g}, {x2:g}, {y2:g} in 000001.xml (its image: {WIDTH} x {HEIGHT})" in messages[0]


def test_boxes_without_an_area_alone_are_an_error(tmp_path: Path) -> None:
    contents: dict[str, list[Item]] = {stem: [("dog", (5, 5, 4, 9), "0")] for stem in CONTENTS}
    with pytest.raises(DataError, match=r"none of its 6 boxes has an area in its image: dog 5, 5, 4, 9 in 000002\.xml"):
        load(write(tmp_path, contents, GIVEN))


def test_fractions_of_the_image_are_an_error(tmp_path: Path) -> None:
    contents: dict[str, list[Item]] = {stem: [("dog", (0.25, 0.5, 0.75, 1), "0")] for stem in CONTENTS}
    with pytest.raises(DataError, match=r"no coordinate of its 6 boxes is above 1.*fractions.*expected pixels"):
        load(write(tmp_path, contents, GIVEN))


def test_a_class_of_which_no_box_is_left_is_none(tmp_path: Path) -> None:
    dataset, (message,) = told(with_objects(tmp_path, ("zebra", (5, 5, 4, 9), "0"), ("dog", (1, 1, 2, 2), "0")))
    assert dataset.classes == ("cat", "dog", "person")
    assert "zebra 5, 5, 4, 9" in message


def test_an_unreadable_image_is_as_large_as_its_annotation_says(tmp_path: Path) -> None:
    root = with_objects(tmp_path, ("dog", (1, 1, 99, 99), "0"))
    (root / "JPEGImages/000001.jpg").write_bytes(b"no picture")
    dataset, _ = told(root)
    assert dataset.splits["train"].targets.load(1).boxes.tolist() == [[0, 0, WIDTH, HEIGHT]]
    replace(root / ONE, f"<width>{WIDTH}</width>", "")
    dataset, (message,) = told(root)
    assert dataset.splits["train"].targets.load(1).boxes.tolist() == [[0, 0, 99, 99]]
    assert "boxes" not in message.replace("boxes of another resolution", "")


def test_annotations_without_a_size_are_counted(tmp_path: Path) -> None:
    root = write(tmp_path, lists=GIVEN)
    replace(root / ONE, f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>", "")
    replace(root / "Annotations/000005.xml", f"<height>{HEIGHT}<", "<height>0<")
    dataset, (message,) = told(root)
    assert dataset.details["annotations_without_size"] == 2
    assert "2 annotations give no <size>" in message
    assert "000001.xml, 000005.xml" in message


def test_classes_of_one_side_are_told(tmp_path: Path) -> None:
    """Difficult objects can be learned from, and are not looked for in test."""
    contents: dict[str, list[Item]] = {
        "1": [("train only", (1, 1, 5, 5), "0"), ("both", (1, 1, 5, 5), "1")],
        "2": [("val only", (1, 1, 5, 5), "0"), ("difficult in test", (1, 1, 5, 5), "0")],
        "3": [(kind, (1, 1, 5, 5), "0") for kind in ("both", "test only", "also test only")],
        "4": [("difficult in test", (1, 1, 5, 5), "1"), ("difficult alone", (1, 1, 5, 5), "1")],
    }
    dataset, (message,) = told(write(tmp_path, contents, {"train": ["1"], "val": ["2"], "test": ["3", "4"]}))
    assert len(dataset.classes) == 7
    assert dataset.details == {"split": "given", "classes_in_test_alone": 2, "classes_not_in_test": 4}
    assert (
        "2 classes of test are in neither train nor val, so that their AP can only be 0: also test only, test only; "
        "4 classes have no object in test, difficult ones aside, so that they have no AP: difficult alone, difficult in "
        "test, train only, val only" in message
    )


def test_warnings_as_errors_end_the_run(tmp_path: Path) -> None:
    root = with_objects(tmp_path, ("dog", (0, 1, 2, 2), "0"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"1 boxes reach out.*warnings are errors in this run"):
            load(root)


def test_thousands_of_objects_in_an_image(tmp_path: Path) -> None:
    items: list[Item] = [
        (f"kind {row % 100:02d}", (1 + row % 9, 1, 10, 2 + row % 7), str(row % 2)) for row in range(5000)
    ]
    write(tmp_path, {**CONTENTS, "000005": items}, GIVEN)
    dataset, _ = told(tmp_path)
    objects = dataset.splits["test"].targets.load(0)
    assert len(objects) == 5000
    assert [dataset.classes[label] for label in objects.labels] == [label for label, _, _ in items]
    assert objects.boxes.tolist() == [[x1 - 1, y1 - 1, x2, y2] for _, (x1, y1, x2, y2), _ in items]


def test_another_xml_than_an_annotation_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path, lists=GIVEN)
    (root / ONE).write_text("<html><body/></html>")
    with pytest.raises(DataError, match=r"000001\.xml: expected the XML of PASCAL VOC, an <annotation>, got <html>"):
        load(root)
    (root / ONE).unlink()
    (root / ONE).mkdir()
    with pytest.raises(DataError, match=r"cannot read \S+000001\.xml: Is a directory; make it readable or remove it"):
        load(root)
