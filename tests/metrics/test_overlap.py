"""Overlap of masks, against torchmetrics and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from sslbench.metrics.overlap import Overlap, class_overlaps, confusion_of
from tests.metrics.repeated import check_resamples, of_all

CLASSES, IGNORE = 7, 255
ABSENT = 5
"""A class that neither truth nor predictions have."""


def masks(dtype: type = np.uint8, ignore: int = IGNORE, seed: int = 0, pictures: int = 9) -> list[tuple]:
    """Pictures of several sizes; classes 3 and 6 are never predicted and never true."""
    rng, pairs = np.random.default_rng(seed), []
    for number in range(pictures):
        shape = (11 + number, 17 - number)
        truth = rng.choice([0, 1, 2, 3, 4], p=[0.5, 0.2, 0.1, 0.1, 0.1], size=shape)
        found = np.where(rng.random(shape) < 0.6, truth, rng.choice([0, 1, 2, 4, 6], size=shape))
        found[found == 3] = 0
        truth[rng.random(shape) < 0.15] = ignore
        pairs.append((truth.astype(dtype), found.astype(np.int64 if number % 2 else np.uint8)))
    return pairs


def counted(pairs: list[tuple], ignore: int) -> np.ndarray:
    """The confusion matrix, pixel by pixel."""
    confusion = np.zeros((CLASSES, CLASSES), int)
    for truth, found in pairs:
        for row, others in zip(truth.tolist(), found.tolist(), strict=True):
            for t, f in zip(row, others, strict=True):
                if t != ignore:
                    confusion[t, f] += 1
    return confusion


@pytest.mark.parametrize(
    ("dtype", "ignore"), [(np.uint8, 255), (np.int16, -1), (np.int64, 255), (np.uint16, 65_535), (np.int8, -7)]
)
def test_the_confusion_matrix_is_that_of_a_loop(dtype, ignore):
    pairs = masks(dtype, ignore)
    scores = of_all(Overlap(CLASSES, ignore), pairs)
    expected = counted(pairs, ignore)
    np.testing.assert_array_equal(scores.confusion, expected)
    assert scores.absent_classes() == [ABSENT]
    arrays = scores.scored().arrays
    np.testing.assert_array_equal(confusion_of(arrays, CLASSES), expected)
    for place, pair in enumerate(pairs):
        np.testing.assert_array_equal(confusion_of(arrays, CLASSES, place), counted([pair], ignore))
    assert arrays["confusion_counts"].dtype == np.uint32 and arrays["confusion_counts"].all()


@pytest.mark.parametrize("absent", ["left-out", "zero"])
def test_scores_are_those_of_torchmetrics(absent):
    pairs = masks()
    each = MulticlassJaccardIndex(CLASSES, ignore_index=IGNORE, average="none")
    macro = MulticlassJaccardIndex(CLASSES, ignore_index=IGNORE, average="macro")
    weighted = MulticlassJaccardIndex(CLASSES, ignore_index=IGNORE, average="weighted")
    micro = MulticlassAccuracy(CLASSES, ignore_index=IGNORE, average="micro")
    recall = MulticlassAccuracy(CLASSES, ignore_index=IGNORE, average="none")
    for truth, found in pairs:
        for metric in (each, macro, weighted, micro, recall):
            metric.update(torch.from_numpy(found.astype(np.int64)), torch.from_numpy(truth.astype(np.int64)))
    scores = {
        name: score.value
        for name, score in of_all(Overlap(CLASSES, IGNORE, absent=absent), pairs).scored().scores.items()
    }
    there = np.bincount(np.concatenate([truth.ravel() for truth, _ in pairs]), minlength=CLASSES)[:CLASSES] > 0
    mean = macro.compute() if absent == "left-out" else each.compute().mean()
    accuracy = recall.compute()[torch.from_numpy(there)].mean() if absent == "left-out" else recall.compute().mean()
    assert scores["mean_iou"] == pytest.approx(100 * float(mean), rel=1e-6)
    assert scores["pixel_accuracy"] == pytest.approx(100 * float(micro.compute()), rel=1e-6)
    assert scores["mean_accuracy"] == pytest.approx(100 * float(accuracy), rel=1e-6)
    assert scores["frequency_iou"] == pytest.approx(100 * float(weighted.compute()), rel=1e-6)
    overlaps = class_overlaps(counted(pairs, IGNORE))
    assert np.flatnonzero(np.isnan(overlaps)).tolist() == [ABSENT]
    np.testing.assert_allclose(np.nan_to_num(overlaps), each.compute().numpy(), rtol=1e-6)


def test_by_hand():
    truth = np.array([[0, 0, 1, 9]], np.int16)
    scores = Overlap(3, ignore=9)
    # Class 0: 1 of 2; class 1: 1 of 2. What was predicted on the ignored pixel counts for nothing.
    assert scores.add(truth, np.array([[0, 1, 1, 2]])) == pytest.approx(50)
    assert scores.absent_classes() == [2]
    values = {name: score.value for name, score in scores.scored().scores.items()}
    assert values == pytest.approx(
        {"mean_iou": 50, "pixel_accuracy": 200 / 3, "mean_accuracy": 75, "frequency_iou": 50}
    )
    zero = Overlap(3, ignore=9, absent="zero")
    assert zero.add(truth, np.array([[0, 1, 1, 2]])) == pytest.approx(50)
    assert zero.scored().scores["mean_iou"].value == pytest.approx(100 / 3)
    assert zero.scored().scores["mean_accuracy"].value == pytest.approx(50)


@pytest.mark.parametrize("absent", ["left-out", "zero"])
def test_resamples_are_of_repeated_pictures(absent):
    check_resamples(lambda: Overlap(CLASSES, IGNORE, absent=absent), masks(seed=3))


def test_a_picture_has_its_own_figure():
    pairs = masks(seed=1)
    scores = Overlap(CLASSES, IGNORE)
    for truth, found in pairs:
        expected = class_overlaps(counted([(truth, found)], IGNORE))
        assert scores.add(truth, found) == pytest.approx(100 * np.nanmean(expected))
    empty = np.full((3, 3), IGNORE, np.uint8)
    before = scores.scored().scores["mean_iou"].value
    assert math.isnan(scores.add(empty, np.zeros((3, 3), np.uint8)))
    assert scores.scored().scores["mean_iou"].value == before
    assert scores.images == len(pairs) + 1


def test_one_picture_tells_no_error():
    scored = of_all(Overlap(CLASSES, IGNORE), masks(pictures=1)).scored()
    assert math.isnan(scored.scores["mean_iou"].stderr)


def test_more_classes_than_bytes():
    rng = np.random.default_rng(0)
    truth, found = rng.integers(256, size=(20, 20), dtype=np.uint8), rng.integers(300, size=(20, 20))
    scores = Overlap(300)
    scores.add(truth, found)
    expected = np.zeros((300, 300), int)
    np.add.at(expected, (truth.astype(int), found), 1)
    np.testing.assert_array_equal(scores.confusion, expected)


@pytest.mark.parametrize(
    ("truth", "found", "told"),
    [
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), r"predicted: expected the shape of the truth, \(2, 2\)"),
        (np.zeros((2, 2)), np.zeros((2, 2), int), r"truth: expected whole numbers \(H, W\), got float64"),
        (np.zeros(4, int), np.zeros(4, int), r"truth: expected whole numbers \(H, W\), got int64 \(4,\)"),
        (np.zeros((0, 4), int), np.zeros((0, 4), int), r"truth: expected whole numbers \(H, W\)"),
        (np.full((2, 2), 8, np.uint8), np.zeros((2, 2), int), "truth: expected classes from 0 to 6 or 255 .*, got 8; name"),
        (np.full((2, 2), 7, np.int16), np.zeros((2, 2), int), "truth: expected classes from 0 to 6 or 255 .*, got 7"),
        (np.full((2, 2), -1), np.zeros((2, 2), int), "truth: expected classes from 0 to 6 or 255 .*, got -1"),
        (np.zeros((2, 2), np.uint8), np.full((2, 2), 7), "predicted: expected classes from 0 to 6, got 7"),
        (np.full((2, 2), 255, np.uint8), np.full((2, 2), -1), "predicted: expected classes from 0 to 6, got -1"),
    ],
)  # fmt: skip
def test_what_is_refused_counts_for_nothing(truth, found, told):
    scores = Overlap(CLASSES, IGNORE)
    with pytest.raises(ValueError, match=told):
        scores.add(truth, found)
    assert scores.images == 0 and not scores.confusion.any()
    with pytest.raises(ValueError, match="expected pixels to score, but no picture was added"):
        scores.scored()


def test_nothing_that_counts_is_told():
    scores = Overlap(CLASSES, IGNORE)
    scores.add(np.full((2, 2), IGNORE, np.uint8), np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="but no pixel of 1 pictures counts"):
        scores.scored()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"classes": 0}, "classes: expected at least 1, got 0"),
        ({"classes": 3, "ignore": 2}, "ignore: expected a value that is none of the classes 0 to 2, got 2"),
        ({"classes": 3, "absent": "one"}, "absent: expected 'left-out' or 'zero', got 'one'"),
    ],
)
def test_wrong_options(options, told):
    with pytest.raises(ValueError, match=told):
        Overlap(**options)


def test_arrays_of_something_else():
    arrays = of_all(Overlap(CLASSES, IGNORE), masks()).scored().arrays
    with pytest.raises(ValueError, match="expected those of masks"):
        confusion_of({"depth_sums": np.zeros(3)}, CLASSES)
    with pytest.raises(ValueError, match="of a matrix of 3 classes"):
        confusion_of(arrays, 3)
