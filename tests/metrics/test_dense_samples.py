"""Kept maps: which pictures, what is left of each, and the way through arrays."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save

from sslbench.metrics.dense_samples import DensePredictions, DenseSamples

NAMES = ("cat", "dog & <b>", "sky")


def masks(count: int, figures: np.ndarray | None = None, **options: int) -> DensePredictions:
    rng = np.random.default_rng(0)
    kept = DensePredictions("masks", NAMES, 9, **options)
    for place in range(count):
        truth = rng.choice([0, 1, 2, 9], size=(6, 8)).astype(np.uint8)
        figure = rng.uniform(0, 100) if figures is None else figures[place]
        kept.add(100 + place, truth, rng.integers(3, size=(6, 8)), figure)
    return kept


def places(kept: DensePredictions) -> list[int]:
    return [one.place for one in kept.samples().kept]


@pytest.mark.parametrize("count", [1, 5, 12, 13, 100, 333])
def test_the_worst_the_best_and_evenly_spaced_ones_are_kept(count):
    figures = np.random.default_rng(count).permutation(count).astype(float)
    figures[::7] = np.nan
    known = np.flatnonzero(~np.isnan(figures))
    got = places(masks(count, figures, most=12))
    ranked = known[np.argsort(figures[known])].tolist()
    stride = 1
    while len(known[::stride]) > 4:
        stride *= 2
    assert got == sorted({*ranked[:4], *ranked[-4:], *known[::stride].tolist()})
    assert len(got) <= 12


def test_of_normals_and_depth_the_smaller_figure_is_better():
    for kind, shape in (("normals", (2, 2, 3)), ("depth", (2, 2))):
        kept = DensePredictions(kind, most=3)
        for figure in (5.0, 1.0, 9.0, 3.0, 4.0):
            kept.add(0, np.ones(shape), np.ones(shape), figure)
        assert set(places(kept)) == {0, 1, 2}
        assert kept._ends[0][0][1] == 2 and kept._ends[1][0][1] == 1


def test_among_equals_the_first_stay():
    assert places(masks(40, np.full(40, 5.0), most=6)) == [0, 1, 32]


def test_masks_come_back_from_arrays():
    samples = masks(30, most=9).samples()
    again = DenseSamples.from_arrays(load(save({**samples.to_arrays(), "more": np.zeros(3)})))
    assert (again.kind, again.classes) == ("masks", NAMES)
    np.testing.assert_array_equal(again.rows, np.arange(100, 130))
    np.testing.assert_array_equal(again.figures, samples.figures)
    assert again.figures.dtype == np.float32 and len(again.kept) == len(samples.kept) > 5
    for one, other in zip(samples.kept, again.kept, strict=True):
        assert (one.place, one.size) == (other.place, other.size) == (one.place, (6, 8))
        np.testing.assert_array_equal(one.truth, other.truth)
        np.testing.assert_array_equal(one.predicted, other.predicted)
        assert other.truth.dtype == np.uint8 and set(np.unique(other.truth)) <= {0, 1, 2, 255}
        np.testing.assert_array_equal(other.counted, other.truth != 255)


def test_many_classes_take_two_bytes():
    kept = DensePredictions("masks", [f"class {i}" for i in range(300)], 65_535)
    truth = np.array([[0, 299, 65_535, 255]], np.uint16)
    kept.add(0, truth, np.array([[255, 298, 0, 1]]), 1.0)
    (one,) = DenseSamples.from_arrays(kept.to_arrays()).kept
    assert one.truth.dtype == np.int16
    assert (one.truth.tolist(), one.predicted.tolist()) == ([[0, 299, -1, 255]], [[255, 298, 0, 1]])
    assert one.counted.tolist() == [[True, True, False, True]]


def test_normals_keep_their_direction():
    vectors = np.random.default_rng(0).normal(size=(50, 40, 3)) * 7
    truth = vectors.copy()
    truth[:, :5] = 0
    vectors[:, 0] = np.nan
    kept = DensePredictions("normals")
    kept.add(3, truth, vectors, 12.0)
    (one,) = DenseSamples.from_arrays(kept.to_arrays()).kept
    np.testing.assert_array_equal(one.counted, truth.any(axis=2))
    lengths = np.linalg.norm(vectors[:, 5:], axis=2, keepdims=True)
    np.testing.assert_allclose(one.truth[:, 5:] / 127, vectors[:, 5:] / lengths, atol=0.5 / 127 + 1e-9)
    np.testing.assert_array_equal(one.truth[:, 5:], one.predicted[:, 5:])
    assert not one.predicted[:, 0].any()


def test_depth_is_kept_in_metres():
    truth = np.random.default_rng(0).uniform(0.5, 10, size=(9, 7)).astype(np.float32)
    truth[0] = 0
    predicted = truth + 1
    predicted[0, :3] = [np.inf, -4, 1e9]
    kept = DensePredictions("depth")
    kept.add(3, truth, predicted, 12.0)
    (one,) = DenseSamples.from_arrays(kept.to_arrays()).kept
    np.testing.assert_allclose(one.truth, truth, rtol=1e-3)
    np.testing.assert_allclose(one.predicted[1:], predicted[1:], rtol=1e-3)
    assert one.predicted[0, :3].tolist() == [0, 0, 65504]
    np.testing.assert_array_equal(one.counted, truth > 0)


def test_large_pictures_are_reduced_to_their_nearest_pixels():
    from PIL import Image

    truth = np.random.default_rng(0).integers(3, size=(300, 500)).astype(np.uint8)
    kept = DensePredictions("masks", NAMES)
    kept.add(0, truth, truth.astype(np.int64), 1.0)
    (one,) = kept.samples().kept
    assert one.truth.shape == (96, 160) and one.size == (300, 500)
    expected = np.asarray(Image.fromarray(truth).resize((160, 96), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(one.truth, expected)
    np.testing.assert_array_equal(one.predicted, expected)


def test_wrong_input():
    for options, told in (
        (("pictures",), "kind: expected one of masks, normals, depth, got 'pictures'"),
        (("masks",), "classes: expected names for masks and none for others, got 0 for masks"),
        (("depth", NAMES), "classes: expected names for masks and none for others, got 3 for depth"),
    ):
        with pytest.raises(ValueError, match=told):
            DensePredictions(*options)
    with pytest.raises(ValueError, match="at least 3 pictures, got 160 and 2"):
        DensePredictions("depth", most=2)
    with pytest.raises(ValueError, match=r"predicted: expected the shape of the truth, \(2, 2\), got \(3, 2\)"):
        DensePredictions("depth").add(0, np.ones((2, 2)), np.ones((3, 2)), 1.0)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"maps_about": None}, "KeyError: 'maps_about'"),
        ({"maps_about": np.frombuffer(b'{"kind": "sounds", "classes": []}', np.uint8)}, "of a kind among masks, .*'sounds'"),
        ({"maps_about": np.frombuffer(b'{"kind": "masks", "classes": ["a"]}', np.uint8)}, "expected masks of 1 classes"),
        ({"maps_about": np.frombuffer(b'{"kind": "depth", "classes": []}', np.uint8)}, "expected depth of float16, got uint8"),
        ({"figures": np.zeros(3, np.float32)}, r"expected a figure of each of 30 pictures, got \(3,\)"),
        ({"kept_places": np.full(7, 30)}, "got place 30"),
        ({"kept_sizes": np.full((7, 2), 6)}, "expected 252 values of kept maps, got 336"),
        ({"kept_truth": np.zeros(7, np.uint8)}, "ValueError: "),
    ],
)  # fmt: skip
def test_arrays_of_something_else_are_refused(changed, told):
    arrays = masks(30, np.arange(30.0), most=9).to_arrays()
    assert len(arrays["kept_places"]) == 7
    arrays = {name: values for name, values in {**arrays, **changed}.items() if values is not None}
    with pytest.raises(ValueError, match=f"these are not the maps of a record: .*{told}"):
        DenseSamples.from_arrays(arrays)
