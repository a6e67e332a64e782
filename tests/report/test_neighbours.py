"""The pictures that a nearest-neighbour vote found, beside test pictures."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from sslbench.config import Settings
from sslbench.datasets import load_dataset
from sslbench.report.neighbours import neighbours_of, shown_rows
from sslbench.report.samples import Look, Samples
from sslbench.report.thumbnails import NO_ROOM, Thumbnails
from sslbench.results.runs import Run
from sslbench.runner import Case, Runner
from sslbench.tasks import parse_task
from tests.report.pages import Page
from tests.report.test_samples import pictures

TRAIN, VAL = np.array([0, 1, 2, 1]), np.array([2, 0])


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A run with a knn record of the embedded digits, and the record."""
    folder = tmp_path_factory.mktemp("run")
    run = Run(folder / "mine")
    settings = Settings(cache_dir=folder / "cache", device="cpu")
    return run, Runner(settings, run).prepare(Case("pixels", parse_task("knn/digits"))).execute()


def shown(case, look, thumbnails=None):
    run, record = case
    return Samples(run.directory / "records", look, thumbnails or Thumbnails()).part(record)


def test_rows_below_the_size_of_train_are_of_train_and_the_others_of_val():
    arrays = {
        "targets": np.array([0, 1]),
        "neighbours": np.array([[3, 4], [5, 0]], np.int32),
        "neighbour_similarity": np.array([[0.5, 0.25], [1, 0]], np.float16),
    }
    found = neighbours_of(arrays, TRAIN, VAL)
    assert found.split.tolist() == [[0, 1], [1, 0]] and found.rows.tolist() == [[3, 0], [1, 0]]
    assert found.labels.tolist() == [[1, 2], [0, 0]] and found.similarity.tolist() == [[0.5, 0.25], [1, 0]]
    del arrays["neighbour_similarity"]
    assert neighbours_of(arrays, TRAIN, VAL) is None


@pytest.mark.parametrize(
    ("neighbours", "similarity", "told"),
    [
        ([[6], [0]], [[0], [0]], "expected neighbours from 0 to 5.*got 0 to 6; run the case again"),
        ([[-1], [0]], [[0], [0]], "got -1 to 0"),
        ([[1]], [[0]], r"of 2 test pictures, got \(1, 1\)"),
        ([[1], [1]], [[0, 1], [0, 1]], r"got \(2, 1\) and \(2, 2\)"),
        ([1, 1], [0, 0], r"got \(2,\)"),
    ],
)
def test_samples_that_do_not_fit_the_splits_are_refused(neighbours, similarity, told):
    arrays = {
        "targets": np.array([0, 1]),
        "neighbours": np.array(neighbours),
        "neighbour_similarity": np.array(similarity),
    }
    with pytest.raises(ValueError, match=told):
        neighbours_of(arrays, TRAIN, VAL)


def test_wrong_and_right_pictures_are_shown():
    targets = np.zeros(12, int)
    decision = np.tile([1.0, 0.0], (12, 1))
    decision[[2, 5]] = [[0, 1], [0, 3]]
    assert shown_rows(decision, targets) == ([5, 2], [0, 6, 11])
    assert shown_rows(decision[:1], targets[:1]) == ([], [0])
    assert shown_rows(decision[5:6], targets[5:6]) == ([0], [])


def test_the_pictures_are_those_of_the_data_and_framed_by_their_classes(case):
    text = shown(case, Look()).split("<h3>Nearest neighbours</h3>")[1]
    Page(text)
    assert "✓ in a solid frame" in text and "✗ in a dashed one" in text
    figures = re.findall("<figure>.*?</figure>", text)
    assert len(figures) == 6
    splits = load_dataset("digits", Settings()).splits
    x = {name: split.images.load(range(len(split.images))) for name, split in splits.items()}
    for figure in figures:
        row = int(re.search("row ([0-9]+)", figure)[1])
        true = splits["test"].targets.values[row]
        drawn = [np.asarray(picture.convert("RGB")) for picture in pictures(figure)]
        np.testing.assert_array_equal(drawn[0], x["test"][row])
        places = re.findall('alt="Row ([0-9]+) of (train|val): ([0-9])"', figure)
        kinds = re.findall('class="near (same|other)"', figure)
        signs = re.findall("<b>([✓✗]) ([0-9])</b>", figure)
        assert len(drawn) == 6 and len(places) == len(kinds) == len(signs) == 5
        for picture, (place, name, label), kind, sign in zip(drawn[1:], places, kinds, signs, strict=True):
            np.testing.assert_array_equal(picture, x[name][int(place)])
            assert int(label) == splits[name].targets.values[int(place)]
            assert (kind, *sign) == (("same", "✓") if int(label) == true else ("other", "✗")) + (label,)


def test_nothing_is_shown_without_leave_data_or_room(case):
    run, record = case
    assert "neighbours" not in shown(case, None).lower()
    assert "neighbours" not in shown(case, Look(pictures=False)).lower()
    other = replace(record, task={**record.task, "fingerprint": "other"})
    assert "Nearest neighbours" not in shown((run, other), Look())
    full = shown(case, Look(), Thumbnails(left=10_000)).split("<h3>Nearest neighbours</h3>")[1]
    assert NO_ROOM in full and full.count("<figure>") < 6
