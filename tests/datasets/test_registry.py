"""Names and declarations of datasets, and the Dataset type."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sslbench.config import Settings
from sslbench.datasets import (
    Dataset,
    DatasetSpec,
    ImageArray,
    Labels,
    LabelSets,
    Split,
    dataset_spec,
    list_datasets,
    load_dataset,
    register_dataset,
)
from sslbench.errors import DataError, UnknownNameError
from tests.conftest import Registries

BLACK = np.zeros((3, 4, 4, 3), dtype=np.uint8)


def tiny(settings: Settings) -> Dataset:
    def split(name: str) -> Split:
        images = np.zeros((2, 4, 4, 3), dtype=np.uint8)
        return Split(name, ImageArray(f"tiny:{name}", images), Labels(np.array([0, 1])))

    return Dataset("tiny", ("x", "y"), {name: split(name) for name in ("train", "val", "test")}, "top1")


def test_every_declaration_loads_as_declared() -> None:
    # The study's datasets are files that are not here: tests/datasets/published.
    for spec in (spec for spec in map(dataset_spec, list_datasets()) if not spec.sources):
        name = spec.name
        dataset = load_dataset(name)
        assert dataset.name == name
        assert len(dataset.classes) == spec.num_classes
        assert (dataset.metric, dataset.target_type) == (spec.metric, spec.targets)
        assert set(dataset.splits) == {"train", "val", "test"}
        for split_name, split in dataset.splits.items():
            assert split.name == split_name
            if isinstance(split.targets, Labels):
                assert set(np.unique(split.targets.values)) == set(range(spec.num_classes)), (name, split_name)


def test_globs_choose_names() -> None:
    assert list_datasets("world-c*") == ["world-colour", "world-count"]
    assert list_datasets("digits") == ["digits"]
    assert list_datasets("nothing*") == []


@pytest.mark.parametrize(("name", "near"), [("digit", "digits"), ("world-color", "world-colour")])
def test_an_unknown_name_lists_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"unknown dataset '{name}'; nearest: {near}.*folder:PATH"):
        load_dataset(name)


def test_a_registered_dataset_loads_by_name(registries: Registries) -> None:
    spec = DatasetSpec("tiny", tiny, 2, "two black pictures", "MIT", "here")
    assert register_dataset(spec) is spec
    assert register_dataset(spec) is spec
    assert "tiny" in list_datasets()
    assert load_dataset("tiny").classes == ("x", "y")


def test_a_taken_name_is_refused(registries: Registries) -> None:
    with pytest.raises(DataError, match="'digits' is already registered"):
        register_dataset(DatasetSpec("digits", tiny, 2, "", "", ""))
    assert dataset_spec("digits").num_classes == 10


def test_a_wrong_number_of_classes_is_refused(registries: Registries) -> None:
    register_dataset(DatasetSpec("tiny", tiny, 3, "", "", ""))
    with pytest.raises(DataError, match="tiny: expected 3 classes, found 2"):
        load_dataset("tiny")


def test_a_split_needs_a_target_for_each_image() -> None:
    with pytest.raises(DataError, match="split 'train' has 3 images but 2 targets"):
        Split("train", ImageArray("f", BLACK, 3), Labels(np.array([0, 1])))


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (np.array([0.2, 0.7]), r"split 'train': targets must be Labels: integers .* got float64 \(2,\).*astype"),
        (np.array([[1.0, 0.0], [0.0, 1.0]]), r"got float64 \(2, 2\)"),
        (np.array(["0", "1"]), r"got <U1 \(2,\)"),
        (np.array([True, False]), r"got bool \(2,\)"),
        (np.zeros((2, 2, 2), dtype=int), r"got int64 \(2, 2, 2\)"),
        ([0, 1], "must be a NumPy array, got list"),
        (
            np.array([[1, 0], [256, 1]]),
            r"must be 1 \(present\), 0 \(absent\) or -1 \(ignored\), got \[256, 1\] in row 1",
        ),
    ],
)
def test_targets_that_are_no_integers_are_refused(targets: object, told: str) -> None:
    with pytest.raises(DataError, match=told):
        Split("train", ImageArray("f", BLACK, 2), targets)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (np.array([0, 2]), r"tiny, split 'train': expected a class from 0 to 1, got 2 in row 1"),
        (np.array([-1, 1]), r"expected a class from 0 to 1, got -1 in row 0"),
        (np.array([[1, 0, 0], [0, 1, 0]]), r"expected targets \(N, 2\), a column for each class, got \(2, 3\)"),
    ],
)
def test_targets_that_do_not_fit_the_classes_are_refused(targets: np.ndarray, told: str) -> None:
    base = tiny(Settings())
    split = replace(base.splits["train"], targets=targets)
    with pytest.raises(DataError, match=told):
        replace(base, splits={"train": split})


def test_integers_of_other_types_become_the_usual_ones() -> None:
    for kind in (np.uint8, np.int32, np.uint64):
        assert Labels(np.array([0, 1], dtype=kind)).values.dtype == np.int64
    for kind in (bool, np.int64, np.uint8):
        sets = LabelSets(np.eye(2, dtype=kind))
        assert (sets.values.dtype, sets.values.tolist()) == (np.int8, [[1, 0], [0, 1]])


def test_splits_of_one_and_of_several_labels_are_refused() -> None:
    base = tiny(Settings())
    marked = replace(base.splits["train"], targets=np.eye(2, dtype=bool))
    assert replace(base, splits={"train": marked}).target_type is LabelSets
    with pytest.raises(
        DataError, match=r"tiny: expected targets of one kind, but train has several classes an image, val has one"
    ):
        replace(base, splits={**base.splits, "train": marked})


def test_an_unknown_metric_is_refused_where_it_is_declared() -> None:
    with pytest.raises(UnknownNameError, match="unknown metric 'topp1'; nearest: top1"):
        DatasetSpec("tiny", tiny, 2, "", "", "", metric="topp1")
    with pytest.raises(UnknownNameError, match="unknown metric 'f1'; known: auroc, map, mean_per_class, top1"):
        replace(tiny(Settings()), metric="f1")


def test_the_fingerprint_follows_classes_images_and_targets() -> None:
    base = tiny(Settings())
    split = base.splits["train"]
    relabelled = Split("train", split.images, np.array([1, 0]))
    redrawn = Split("train", replace(split.images, fingerprint="other"), split.targets)
    others = [
        replace(base, classes=("x", "z")),
        replace(base, splits={**base.splits, "train": relabelled}),
        replace(base, splits={**base.splits, "train": redrawn}),
    ]
    assert len({dataset.fingerprint for dataset in (base, *others)}) == 4
    same = replace(base, name="renamed", splits=dict(reversed(base.splits.items())))
    assert same.fingerprint == base.fingerprint
