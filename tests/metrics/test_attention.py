"""Maps from distances, and what is read off them, against loops, torch's pooling and maps that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sslbench.metrics.attention import attention_map, attention_scores, attentive_diffusion
from sslbench.metrics.resampling import resample_counts


def test_all_windows_at_stride_one_are_average_pooling_inside() -> None:
    distances = np.random.default_rng(0).random((21, 17))
    found = attention_map(distances, range(21), range(17), 6, (26, 22))
    pooled = torch.nn.functional.avg_pool2d(torch.from_numpy(distances)[None], 6, stride=1)[0].numpy()
    np.testing.assert_allclose(found[5:-5, 5:-5], pooled, rtol=1e-12)


@pytest.mark.parametrize("starts", [[0, 2, 4, 6, 8, 9], [0, 3, 6, 9]])
def test_each_pixel_is_the_mean_of_the_windows_over_it(starts: list[int]) -> None:
    distances = np.random.default_rng(1).random((len(starts), 3))
    lefts, window = [0, 3, 4], 3
    expected = np.zeros((12, 7))
    for y in range(12):
        for x in range(7):
            over = [
                distances[i, j]
                for i, top in enumerate(starts)
                for j, left in enumerate(lefts)
                if top <= y < top + window and left <= x < left + window
            ]
            expected[y, x] = sum(over) / len(over)
    np.testing.assert_allclose(attention_map(distances, starts, lefts, window, (12, 7)), expected, rtol=1e-12)


def test_a_pixel_without_a_window_is_an_error() -> None:
    with pytest.raises(ValueError, match="14 of 32 pixels are covered by no window"):
        attention_map(np.ones((2, 1)), [0, 4], [0], 3, (8, 4))
    with pytest.raises(ValueError, match=r"expected shape \(2, 1\), got \(1, 2\)"):
        attention_map(np.ones((1, 2)), [0, 4], [0], 4, (8, 4))


def test_diffusion_of_known_maps() -> None:
    spot = np.zeros((10, 10))
    spot[2:5, 2:6] = 1
    assert attentive_diffusion(spot) == 12.0
    assert attentive_diffusion(1 - spot) == 88.0
    assert attentive_diffusion(np.arange(100.0).reshape(10, 10)) == 50.0
    # At the mean is not above it.
    assert attentive_diffusion(np.full((4, 4), 0.5)) == 0.0


def test_attention_on_objects_is_shares_of_mass_and_area() -> None:
    maps, objects = np.ones((2, 4, 5)), np.zeros((2, 4, 5), np.uint8)
    objects[0, :2] = 1
    maps[0, 0, 0] = 11
    # Of the second picture the lower half is unknown, and so is its largest value.
    objects[1, 0] = 1
    objects[1, 2:] = 2
    maps[1, 3, 3] = 50
    maps[1, 1, 1] = 3
    found = {name: score.value for name, score in attention_scores(maps, objects).scores.items()}
    on = [20 / 30, 5 / 12]
    assert found == pytest.approx({
        "attentive_diffusion": 5.0, "attention_on_object": 50 * sum(on), "object_area": 50.0,
        "attention_excess": 50 * (sum(on) - 1), "pointing_game": 50.0,
    })  # fmt: skip


def test_who_looks_everywhere_alike_has_no_excess() -> None:
    objects = np.random.default_rng(2).integers(0, 2, (3, 6, 6)).astype(np.uint8)
    scores = attention_scores(np.full((3, 6, 6), 0.3), objects).scores
    assert scores["attention_excess"].value == pytest.approx(0, abs=1e-12)
    assert scores["object_area"].value == pytest.approx(100 * objects.mean())


def test_uncertainty_is_the_bootstrap_over_pictures() -> None:
    maps = np.random.default_rng(3).random((12, 8, 8)) ** np.linspace(1, 8, 12)[:, None, None]
    found = attention_scores(maps, resamples=50)
    counts = resample_counts(12, 50)[:, 1:]
    np.testing.assert_allclose(found.resampled["attentive_diffusion"], counts.T @ found.each / 12)
    score = found.scores["attentive_diffusion"]
    assert score.n == 12 and not score.higher_is_better
    assert score.stderr == pytest.approx(np.std(counts.T @ found.each / 12, ddof=1))
    assert list(found.scores) == ["attentive_diffusion"]


def test_one_picture_tells_no_uncertainty() -> None:
    score = attention_scores(np.random.default_rng(4).random((1, 8, 8))).scores["attentive_diffusion"]
    assert 0 < score.value < 100 and math.isnan(score.stderr) and score.n == 1


@pytest.mark.parametrize(
    ("maps", "objects", "message"),
    [
        (np.ones((2, 3)), None, "expected finite numbers"),
        (np.full((1, 2, 2), np.nan), None, "expected finite numbers"),
        (-np.ones((1, 2, 2)), None, "not negative"),
        (np.zeros((1, 2, 2)), None, "nothing in picture 0 moves the features"),
        (np.ones((1, 2, 2)), np.ones((1, 2, 3), np.uint8), "that of the maps"),
        (np.ones((1, 2, 2)), np.full((1, 2, 2), 2, np.uint8), "pixels of which the object or its absence is known"),
    ],
)
def test_what_cannot_be_scored_is_an_error(maps: np.ndarray, objects: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention_scores(maps, objects)
