"""Errors of reconstructed pictures, against second computations and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_squared_error

from sslbench.metrics.reconstruction import chroma_of_grey, colour_errors, error_of_constant, reconstruction_scores


def pictures(count: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 7, 3), dtype=np.uint8)


def test_errors_are_those_of_sklearn_in_squared_levels() -> None:
    truth, found = pictures(), pictures(seed=1)
    errors = colour_errors(truth, found)
    for number in range(len(truth)):
        each = mean_squared_error(truth[number].reshape(-1, 3), found[number].reshape(-1, 3), multioutput="raw_values")
        assert [errors[f"mse_{name}"][number] for name in ("red", "green", "blue")] == pytest.approx(each)
        assert errors["mse"][number] == pytest.approx(each.mean())
    np.testing.assert_allclose(errors["mse"], errors["mse_grey"] + errors["mse_chroma"], rtol=1e-12)


def test_the_unit_is_levels_of_255() -> None:
    black, white = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)
    errors = colour_errors(black, white)
    assert errors["mse"][0] == errors["mse_red"][0] == errors["mse_grey"][0] == 255**2
    assert errors["mse_chroma"][0] == 0


def test_chroma_is_what_is_left_without_lightness() -> None:
    truth = pictures().astype(np.float32)
    grey = np.broadcast_to(truth.mean(axis=3, keepdims=True), truth.shape)
    errors = colour_errors(truth, grey)
    assert errors["mse_grey"] == pytest.approx(np.zeros(5), abs=1e-6)
    assert errors["mse_chroma"].mean() == pytest.approx(truth.var(axis=3).mean(), rel=1e-5)
    assert chroma_of_grey(truth) == pytest.approx(errors["mse_chroma"].mean(), rel=1e-5)
    # Red and green exchanged: lightness stays, and with it `mse_grey`.
    errors = colour_errors(truth, truth[..., [1, 0, 2]])
    assert errors["mse_grey"] == pytest.approx(np.zeros(5), abs=1e-6) and (errors["mse_chroma"] > 0).all()


def test_no_constant_colour_is_better_than_the_mean() -> None:
    truth = pictures()
    best = error_of_constant(truth)
    painted = np.broadcast_to(truth.reshape(-1, 3).mean(axis=0), truth.shape)
    assert best == pytest.approx(colour_errors(truth, painted)["mse"].mean())
    for moved in (painted + np.array([2.0, 0, 0]), painted - np.array([0, 1.0, 1.0])):
        assert colour_errors(truth, moved)["mse"].mean() > best


def test_scores_are_means_over_pictures_with_their_error() -> None:
    errors = colour_errors(pictures(40), pictures(40, seed=1))
    found = reconstruction_scores(errors, {"lpips_vgg": np.linspace(0.1, 0.5, 40)})
    for name, values in (*errors.items(), ("lpips_vgg", np.linspace(0.1, 0.5, 40))):
        score, resampled = found[name]
        assert score.value == pytest.approx(values.mean()) and score.n == 40 and not score.higher_is_better
        # 200 resamples know it to 5 %.
        assert score.stderr == pytest.approx(values.std() / np.sqrt(40), rel=0.2)
        assert resampled.shape == (200,)
    assert found["mse"][0].unit == "levels²" and found["lpips_vgg"][0].unit == "LPIPS"


def test_of_a_single_picture_no_error_is_known() -> None:
    score, _ = reconstruction_scores(colour_errors(pictures(1), pictures(1, seed=1)), {})["mse"]
    assert np.isnan(score.stderr) and score.n == 1


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        (pictures()[0], pictures(), r"pictures: expected \(N, H, W, 3\), got \(6, 7, 3\)"),
        (pictures(), pictures(4), r"expected the shape of the pictures, \(5, 6, 7, 3\), got \(4"),
        (pictures(), pictures() + 0.5, "reconstructions: expected levels from 0 to 255"),
    ],
)
def test_what_is_no_picture_is_refused(truth: np.ndarray, found: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        colour_errors(truth, found)
