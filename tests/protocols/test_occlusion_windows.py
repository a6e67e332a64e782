"""Distances of covered pictures against a loop in float64 and against captum's occlusion; windows and their options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sslbench.errors import BackboneError, FeatureError, UnknownNameError
from sslbench.metrics.attention import attention_map
from sslbench.protocols._occlusion_options import RECIPES, STUDY, Options, Recipe, Windows, canonical, windows_of
from sslbench.protocols._occlusion_windows import covered, relative_distances

SIDE, WINDOW = 26, 4
SMALL = Recipe("small", "test", pictures=1, side=SIDE, window=WINDOW, stride=1, framed=True)


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 10, 3), nn.ReLU()
        )
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images).mean(dim=(2, 3))


def picture() -> torch.Tensor:
    return torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(6))


def by_loop(network: nn.Module, image: torch.Tensor, windows: Windows, fill: torch.Tensor, centred: bool) -> np.ndarray:
    found = np.zeros((len(windows.tops), len(windows.lefts)))
    with torch.no_grad():
        clean = network(image[None].double())[0].numpy()
        against = np.linalg.norm(clean - clean.mean() if centred else clean)
        for i, top in enumerate(windows.tops):
            for j, left in enumerate(windows.lefts):
                hidden = image.double().clone()
                hidden[:, top : top + windows.side, left : left + windows.side] = fill.double()[:, None, None]
                found[i, j] = np.linalg.norm(network(hidden[None])[0].numpy() - clean) / against
    return found


@pytest.mark.parametrize(("stride", "batch", "centred"), [(1, 64, False), (3, 7, True), (4, 1, False)])
def test_distances_are_those_of_a_loop_in_float64(stride: int, batch: int, centred: bool) -> None:
    network, image, fill = Tiny(), picture(), torch.tensor([0.3, -0.2, 0.9])
    windows = windows_of(SMALL, stride, (SIDE, SIDE))
    found = relative_distances(network, image, windows, fill, batch=batch, centred=centred)
    expected = by_loop(Tiny().double(), image, windows, fill, centred)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-6)


def test_the_map_is_captums_with_the_other_sign() -> None:
    from captum.attr import Occlusion

    network, image = Tiny(), picture()
    with torch.no_grad():
        clean = network(image[None])[0]

    def score(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return (network(images) - clean).norm(dim=1) / clean.norm()

    attribution = Occlusion(score).attribute(
        image[None],
        sliding_window_shapes=(3, WINDOW, WINDOW),
        strides=(3, 1, 1),
        baselines=0,
        perturbations_per_eval=64,
    )[0, 0]
    windows = windows_of(SMALL, None, (SIDE, SIDE))
    distances = relative_distances(network, image, windows, torch.zeros(3), batch=64)
    found = attention_map(distances, windows.tops, windows.lefts, WINDOW, (SIDE, SIDE))
    # At the border captum counts windows that reach over it.
    np.testing.assert_allclose(found[windows.inner], -attribution.numpy()[windows.inner], atol=1e-6)
    assert found[windows.inner].shape == (20, 20) and found.max() > 0.01


def test_a_network_that_sees_one_square_is_told_by_the_map() -> None:
    windows = windows_of(SMALL, None, (SIDE, SIDE))
    image = torch.zeros(3, SIDE, SIDE)
    image[:, 8:14, 15:20] = 2.0
    distances = relative_distances(lambda images: images.flatten(1), image, windows, torch.zeros(3), batch=50)
    found = attention_map(distances, windows.tops, windows.lefts, WINDOW, (SIDE, SIDE))
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert 8 <= y < 14 and 15 <= x < 20
    far = np.ones((SIDE, SIDE), bool)
    far[8 - WINDOW + 1 : 14 + WINDOW - 1, 15 - WINDOW + 1 : 20 + WINDOW - 1] = False
    assert found[far].max() == 0
    # A whole window of 4 of the square's 5 x 6 pixels is gone: 16 of 30.
    assert distances.max() == pytest.approx(np.sqrt(16 / 30))


def test_a_square_is_covered_and_nothing_else() -> None:
    image, fill = picture(), torch.tensor([1.0, 2.0, 3.0])
    tops, lefts = torch.tensor([0, 22, -4]), torch.tensor([3, 22, -4])
    for made, top, left in zip(covered(image, tops, lefts, 4, fill), tops, lefts, strict=True):
        expected = image.clone()
        if top >= 0:
            expected[:, top : top + 4, left : left + 4] = fill[:, None, None]
        assert torch.equal(made, expected)


def test_a_network_that_writes_into_its_pictures_spoils_no_other_window() -> None:
    image, windows = picture(), windows_of(SMALL, 4, (SIDE, SIDE))
    plain = relative_distances(Tiny(), image, windows, torch.zeros(3), batch=9)
    network, before = Tiny(), image.clone()
    found = relative_distances(lambda images: network(images.mul_(2).div_(2)), image, windows, torch.zeros(3), batch=9)
    assert torch.equal(image, before)
    np.testing.assert_allclose(found, plain, rtol=1e-5)


@pytest.mark.parametrize(
    ("embed", "centred"),
    [
        (lambda images: images.mean(dim=(2, 3)) * torch.nan, False),
        (lambda images: torch.zeros(len(images), 4), False),
        (lambda images: torch.ones(len(images), 4), True),
    ],
)
def test_features_that_nothing_can_be_measured_against_are_an_error(embed: object, centred: bool) -> None:
    windows = windows_of(SMALL, 4, (SIDE, SIDE))
    with pytest.raises(FeatureError, match="expected finite features that are not all zero"):
        relative_distances(embed, picture(), windows, torch.zeros(3), batch=9, centred=centred)


def test_the_studys_windows() -> None:
    windows = windows_of(STUDY, None, (242, 242))
    assert len(windows) == 233**2 == 54_289 and windows.side == 10 and windows.stride == 1
    assert windows.inner == (slice(9, 233), slice(9, 233))


@pytest.mark.parametrize(
    ("recipe", "size", "expected"),
    [("own", (224, 224), (10, 1, 215**2)), ("own", (64, 64), (3, 1, 62**2)), ("quick", (64, 64), (4, 2, 31**2)),
     ("quick", (224, 224), (14, 7, 31**2)), ("quick", (64, 96), (4, 2, 31 * 47))],
)  # fmt: skip
def test_windows_in_proportion(recipe: str, size: tuple[int, int], expected: tuple[int, int, int]) -> None:
    windows = windows_of(RECIPES[recipe], None, size)
    assert (windows.side, windows.stride, len(windows)) == expected
    assert windows.margin == 0


def test_the_last_window_ends_at_the_border() -> None:
    windows = windows_of(RECIPES["quick"], 4, (66, 64))
    assert windows.tops[-3:] == (56, 60, 62) and windows.lefts[-2:] == (56, 60)


@pytest.mark.parametrize(
    ("stride", "size", "message"),
    [(11, (242, 242), "stride=11: the windows have 10 pixels here"), (None, (18, 18), "18 x 18 pixels, too few")],
)
def test_windows_that_leave_pixels_out_are_an_error(stride: int | None, size: tuple[int, int], message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        windows_of(STUDY, stride, size)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("recipe=study+pictures=1", ""), ("stride=2+recipe=quick", "recipe=quick+stride=2"), ("5shot", None),
     ("pictures=16+recipe=quick", "recipe=quick"), ("pictures=16", "pictures=16"), ("stride=1", "")],
)  # fmt: skip
def test_a_variant_has_one_spelling(text: str, expected: str | None) -> None:
    assert canonical(text) == expected
    if expected:
        assert canonical(expected) == expected and str(Options.parse(expected)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [("recipe=fast", "recipe=fast: expected study or own or quick"), ("pictures=0", "whole number from 1"),
     ("stride=2+stride=3", "stride twice"), ("window=3", "no option of occlusion")],
)  # fmt: skip
def test_what_no_variant_can_be(text: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        canonical(text)
