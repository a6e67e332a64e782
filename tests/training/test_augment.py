"""Views against torchvision's own operations, one picture at a time."""

import math

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from sslbench.training import augment
from sslbench.training.augment import Views


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_views_have_the_size_and_repeat_with_the_seed(images: torch.Tensor) -> None:
    views = Views(48, jitter=0.4, grey=0.2)
    first = views(images, seeded())
    assert first.shape == (6, 3, 48, 48) and first.dtype == torch.float32
    assert torch.equal(first, views(images, seeded()))
    assert not torch.equal(first, views(images, seeded(1)))


def test_a_whole_crop_is_the_picture_or_its_mirror_image(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    # Area 1 and ratio 1: the ratio's draw is centred.
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, 0.5))
    views = Views(64, min_area=1.0)(images, seeded())
    torch.testing.assert_close(views, images.float() / 255, atol=1e-5, rtol=0)
    monkeypatch.setattr(
        torch, "rand", lambda *shape, **_: torch.full(shape, 0.5).index_fill_(0, torch.tensor([4]), 0.4)
    )
    mirrored = Views(64, min_area=1.0)(images, seeded())
    torch.testing.assert_close(mirrored, images.flip(3).float() / 255, atol=1e-5, rtol=0)


def test_crops_cover_the_areas_asked_for() -> None:
    # A ramp from left to right: the spread of a crop tells its width.
    ramp = torch.arange(64).mul(4).to(torch.uint8).expand(4000, 3, 64, 64)
    views = Views(48, min_area=0.2)(ramp, seeded())
    width = (views[:, 0, 0].amax(1) - views[:, 0, 0].amin(1)) * 255 / 4 / 63
    assert width.max() <= 1.01
    # The narrowest crop: a fifth of the area at a ratio of 3/4.
    assert width.min() >= math.sqrt(0.2 * 0.75) * 0.95
    assert width.min() < 0.5 < 0.95 < width.max()
    rising = (views[:, 0, 0, -1] > views[:, 0, 0, 0]).float().mean()
    assert 0.45 < rising < 0.55


def colour(views: Views, pictures: torch.Tensor, seed: int) -> torch.Tensor:
    """The colour map alone, on float pictures in [0, 1]."""
    matrix, offset = views._colours(pictures, seeded(seed))
    return torch.baddbmm(offset, matrix, pictures.flatten(2)).view_as(pictures)


def test_grey_is_torchvisions_greyscale(images: torch.Tensor) -> None:
    pictures = images.float() / 255
    grey = colour(Views(64, grey=1.0), pictures, 0)
    expected = tv.rgb_to_grayscale(pictures, num_output_channels=3)
    torch.testing.assert_close(grey, expected, atol=1e-3, rtol=0)


def test_without_jitter_and_grey_nothing_changes(images: torch.Tensor) -> None:
    pictures = images.float() / 255
    torch.testing.assert_close(colour(Views(64), pictures, 0), pictures, atol=1e-5, rtol=0)


def test_brightness_contrast_and_saturation_are_torchvisions(
    images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pale, low-contrast pictures, so that torchvision's clipping after each step changes nothing.
    pictures = 0.35 + 0.2 * images.float() / 255
    draws = iter([0.9, 0.2, 0.7, 0.5, 0.0, 1.0])  # brightness, contrast, saturation, hue (none), jitter yes, grey no
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, next(draws)))
    changed = colour(Views(64, jitter=0.4, grey=0.2), pictures, 0)
    brightness, contrast, saturation = (0.6 + 0.8 * draw for draw in (0.9, 0.2, 0.7))
    expected = tv.adjust_saturation(
        tv.adjust_contrast(tv.adjust_brightness(pictures, brightness), contrast), saturation
    )
    torch.testing.assert_close(changed, expected, atol=2e-3, rtol=0)


def test_a_turned_hue_keeps_the_luma_and_a_whole_turn_everything(images: torch.Tensor) -> None:
    turn = torch.tensor([0.1, -0.25, 1.0]).view(3, 1, 1)
    matrix = augment._hue_turn(turn)
    luma = torch.tensor(augment.LUMA)
    torch.testing.assert_close(luma @ matrix, luma.expand(3, 3), atol=2e-3, rtol=0)
    torch.testing.assert_close(matrix[2], torch.eye(3), atol=1e-5, rtol=0)
    # Grey has no hue.
    torch.testing.assert_close(matrix @ torch.ones(3), torch.ones(3, 3), atol=2e-3, rtol=0)
