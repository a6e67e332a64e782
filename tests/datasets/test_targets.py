"""Every type of targets: what it gives, what its digest tells apart and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sslbench.datasets import Boxes, DeferredObjects, Depths, Labels, LabelSets, Masks, Normals, Objects, Targets
from sslbench.errors import DataError

ROWS = np.array([2, 0])


def objects(*corners: tuple[float, float, float, float], label: int = 0, difficult: bool = False) -> Objects:
    boxes = np.array(corners, dtype=np.float32).reshape(-1, 4)
    return Objects(boxes, np.full(len(boxes), label), np.full(len(boxes), difficult))


ONE, TWO, NONE = objects((0, 0, 2, 1)), objects((1, 1, 3, 3), (0, 2, 1, 4), label=1), objects()


def never(row: int) -> Objects:
    raise AssertionError("read too early")


def numbered(row: int) -> np.ndarray:
    return np.full((2, 3), row, dtype=np.uint8)


def deferred(fingerprint: str = "f", count: int = 3, read: Callable[[int], Objects] = never) -> Boxes:
    return Boxes(DeferredObjects(read, fingerprint, np.arange(count)))


MADE: dict[str, Targets] = {
    "labels": Labels(np.array([4, 5, 6])),
    "sets": LabelSets(np.array([[1, 0], [0, -1], [1, 1]])),
    "boxes": Boxes([ONE, TWO, NONE]),
    "deferred": deferred(read=[ONE, TWO, NONE].__getitem__),
    "masks": Masks(numbered, "f", np.arange(3)),
    "normals": Normals(lambda row: np.full((2, 3, 3), row, dtype=np.float32), "f", np.arange(3)),
    "depths": Depths(lambda row: np.full((2, 3), row, dtype=np.float32), "f", np.arange(3)),
}


def same(first: object, second: object) -> bool:
    if isinstance(first, Objects):
        return first is second
    return np.array_equal(np.asarray(first), np.asarray(second))


@pytest.mark.parametrize("name", MADE)
def test_rows_are_taken_in_the_order_given(name: str) -> None:
    targets = MADE[name]
    taken = targets.take(ROWS)
    assert type(taken) is type(targets)
    assert (len(targets), len(taken)) == (3, 2)
    assert same(taken.load(0), targets.load(2)) and same(taken.load(1), targets.load(0))
    assert not same(taken.load(0), targets.load(0))
    again = taken.take(np.array([1]))
    assert same(again.load(0), targets.load(0))
    assert again.digest == targets.take(np.array([0])).digest


@pytest.mark.parametrize("name", MADE)
def test_the_digest_follows_rows_and_order(name: str) -> None:
    targets = MADE[name]
    rows = (np.arange(3), np.array([0, 2, 1]), np.array([0, 1]), ROWS)
    assert len({targets.take(some).digest for some in rows}) == 4
    assert targets.take(np.arange(3)).digest == targets.digest
    assert len(targets.digest) == 16


def test_what_is_loaded() -> None:
    assert MADE["labels"].load(1) == 5
    assert MADE["sets"].load(1).tolist() == [0, -1]
    assert MADE["boxes"].load(1) is TWO
    assert MADE["masks"].load(2).tolist() == [[2] * 3] * 2
    assert MADE["normals"].load(1).shape == (2, 3, 3)


def test_kinds_have_names_of_their_own_and_digests_too() -> None:
    assert len({targets.kind for targets in MADE.values()}) == 6
    assert MADE["masks"].digest != Normals(numbered, "f", np.arange(3)).digest
    assert Labels(np.array([1, 0])).digest != LabelSets(np.array([[1], [0]])).digest


@pytest.mark.parametrize(
    "changed",
    [
        [objects((0, 0, 2, 1.5))],
        [objects((0, 0, 2, 1), label=1)],
        [objects((0, 0, 2, 1), difficult=True)],
        [ONE, NONE],
        [NONE],
        [objects((0, 0, 2, 1), (0, 0, 2, 1))],
    ],
)
def test_the_digest_of_boxes_follows_everything(changed: list[Objects]) -> None:
    assert Boxes([ONE]).digest == Boxes([objects((0, 0, 2, 1))]).digest
    assert Boxes(changed).digest != Boxes([ONE]).digest


def test_objects_are_not_confused_with_those_of_the_next_picture() -> None:
    first, second = objects((0, 0, 1, 1)), objects((0, 0, 2, 2))
    both = objects((0, 0, 1, 1), (0, 0, 2, 2))
    assert Boxes([both, NONE]).digest != Boxes([first, second]).digest != Boxes([NONE, both]).digest


def test_the_digest_of_what_is_deferred_comes_from_the_fingerprint() -> None:
    assert deferred("a").digest == deferred("a").digest != deferred("b").digest
    for kind in (Masks, Normals, Depths):
        assert kind(numbered, "a", ROWS).digest == kind(numbered, "a", ROWS).digest
        assert kind(numbered, "a", ROWS).digest != kind(numbered, "b", ROWS).digest


def test_a_vocabulary_of_normals_is_part_of_the_digest_where_there_is_one() -> None:
    words = np.eye(3)
    plain, given = (Normals(numbered, "a", ROWS, codewords=codewords) for codewords in (None, words))
    assert plain.digest == Normals(numbered, "a", ROWS).digest != given.digest
    assert given.digest != Normals(numbered, "a", ROWS, codewords=-words).digest
    taken = given.take(np.array([1]))
    assert taken.codewords is words


def test_deferred_objects_are_read_when_asked_for() -> None:
    boxes = deferred()
    boxes.check("here", 1)
    assert len(boxes.take(ROWS)) == 2
    with pytest.raises(AssertionError, match="too early"):
        boxes.load(0)


def test_deferred_objects_are_a_sequence() -> None:
    made = deferred(read=[ONE, TWO, NONE].__getitem__).objects
    assert list(made) == [ONE, TWO, NONE]
    assert list(made[1:]) == [TWO, NONE]
    assert made[-1] is NONE


@pytest.mark.parametrize("corners", [(2, 0, 2, 1), (0, 3, 1, 2), (0, 0, np.nan, 1), (0, 0, np.inf, 1)])
def test_boxes_without_an_area_are_refused(corners: tuple[float, float, float, float]) -> None:
    with pytest.raises(DataError, match="row 1: expected boxes x1 < x2 and y1 < y2 in pixels"):
        Boxes([ONE, objects(corners)])
    with pytest.raises(DataError, match="row 0: expected boxes x1 < x2"):
        deferred(read=lambda row: objects(corners)).load(0)


def test_objects_whose_parts_do_not_match_are_refused() -> None:
    bad = Objects(np.zeros((2, 4), np.float32), np.zeros(1, np.int64), np.zeros(2, bool))
    with pytest.raises(DataError, match=r"row 0: expected boxes \(M, 4\) with labels and difficult"):
        Boxes([bad])


@pytest.mark.parametrize(
    ("targets", "classes", "told"),
    [
        (Labels(np.array([0, 3])), 3, "here: expected a class from 0 to 2, got 3 in row 1"),
        (LabelSets(np.array([[1, 0]])), 3, r"here: expected targets \(N, 3\)"),
        (Boxes([ONE, TWO]), 1, "here: expected a class from 0 to 0, got 1 in row 1"),
        (Boxes([objects((0, 0, 1, 1), label=-1)]), 1, "got -1 in row 0"),
    ],
)
def test_classes_that_there_are_not_are_refused(targets: Targets, classes: int, told: str) -> None:
    with pytest.raises(DataError, match=told):
        targets.check("here", classes)
    targets.take(np.array([], dtype=np.int64)).check("here", classes if isinstance(targets, Boxes | Labels) else 2)


def test_other_arrays_are_refused() -> None:
    for bad in (np.array([0.5]), np.zeros((2, 2), int), [0]):
        with pytest.raises(DataError, match="targets must be"):
            Labels(bad)  # type: ignore[arg-type]
    for bad in (np.array([0, 1]), np.array([[2, 0]]), np.array([[0.5]])):
        with pytest.raises(DataError, match="targets"):
            LabelSets(bad)


def test_masks_say_what_is_ignored() -> None:
    assert Masks(numbered, "f", ROWS).ignore is None
    assert Masks(numbered, "f", ROWS, ignore=255).take(ROWS[:1] * 0).ignore == 255
