"""Random resized crops against torchvision's and Pillow's own, one picture at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from sslbench.backbones.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from sslbench.errors import TrainingError
from sslbench.training import crops as crops_module
from sslbench.training.crops import draw_boxes, resized_crops

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(height: int, width: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=seeded(seed))


def scene(height: int, width: int, seed: int) -> torch.Tensor:
    """Shades, edges and grain, as photographs have them."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((width, height), 3)
    levels = np.asarray(coarse).astype(int) + random.integers(-8, 9, (height, width, 3))
    levels[height // 3 :, width // 2 :] //= 3
    return torch.from_numpy(levels.clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()


def by_torchvision(
    pictures: Sequence[torch.Tensor], boxes: torch.Tensor, flips: torch.Tensor, size: tuple[int, int], how: str
) -> torch.Tensor:
    made = [
        tv.resized_crop(picture, *box, list(size), InterpolationMode(how), antialias=True)
        for picture, box in zip(pictures, boxes.tolist(), strict=True)
    ]
    return torch.stack([tv.hflip(one) if flip else one for one, flip in zip(made, flips, strict=True)]).float()


def by_pillow(
    pictures: Sequence[torch.Tensor], boxes: torch.Tensor, flips: torch.Tensor, size: tuple[int, int], how: str
) -> torch.Tensor:
    """The horizontal pass first; in one call recent Pillow may begin with the other."""
    made = []
    for picture, (top, left, height, width), flip in zip(pictures, boxes.tolist(), flips, strict=True):
        image = Image.fromarray(picture.permute(1, 2, 0).numpy()).crop((left, top, left + width, top + height))
        image = image.resize((size[1], height), RESAMPLING[how]).resize((size[1], size[0]), RESAMPLING[how])
        made.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        made[-1] = made[-1].flip(2) if flip else made[-1]
    return torch.stack(made).float()


def ragged(make, seed: int = 0) -> list[torch.Tensor]:
    sizes = [(64, 64), (33, 80), (120, 17), (300, 200), (1, 50), (90, 1), (1, 1), (224, 224), (500, 333), (2, 3)]
    return [make(*size, seed + place) for place, size in enumerate(sizes)]


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("how", ["bicubic", "bilinear"])
@pytest.mark.parametrize("make", [noise, scene])
@pytest.mark.parametrize("size", [(64, 64), (224, 224), (20, 31), (1, 1)])
def test_crops_are_torchvisions_and_pillows(size, make, how: str) -> None:
    pictures = ragged(make)
    sizes = torch.tensor([picture.shape[1:] for picture in pictures])
    generator = seeded(size[0])
    for _ in range(3):
        boxes = draw_boxes(sizes, generator)
        flips = torch.rand(len(pictures), generator=generator) < 0.5
        references = [reference(pictures, boxes, flips, size, how) for reference in (by_torchvision, by_pillow)]
        for count in (1, 2):
            with threads(count):
                crops = resized_crops(pictures, boxes, flips, size, interpolation=how)
            assert crops.dtype == torch.float32 and crops.shape == (10, 3, *size)
            assert crops.is_contiguous(memory_format=torch.channels_last)
            assert crops.min() >= 0 and crops.max() <= 255
            for reference in references:
                difference = (crops - reference).abs()
                # Both of them round to whole levels after each pass.
                assert difference.max() <= 2
                assert difference.mean() < 0.4


def test_scenes_are_near_pillows_own_crop_and_resize() -> None:
    pictures = [scene(300, 400, seed) for seed in range(8)]
    boxes = draw_boxes(torch.tensor([[300, 400]] * 8), seeded())
    crops = resized_crops(pictures, boxes, torch.zeros(8, dtype=torch.bool), (96, 96))
    for crop, picture, (top, left, height, width) in zip(crops, pictures, boxes.tolist(), strict=True):
        image = Image.fromarray(picture.permute(1, 2, 0).numpy())
        box = (left, top, left + width, top + height)
        expected = np.asarray(image.crop(box).resize((96, 96), Image.Resampling.BICUBIC))
        assert (crop - torch.from_numpy(expected.copy()).permute(2, 0, 1)).abs().mean() < 0.4


def test_a_box_of_the_results_size_is_copied() -> None:
    pictures = [noise(40, 50, seed) for seed in range(3)]
    boxes = torch.tensor([[0, 0, 32, 32], [8, 18, 32, 32], [3, 5, 32, 32]])
    crops = resized_crops(pictures, boxes, torch.tensor([False, True, False]), (32, 32))
    expected = [p[:, t : t + 32, x : x + 32].float() for p, (t, x, _, _) in zip(pictures, boxes.tolist(), strict=True)]
    torch.testing.assert_close(crops, torch.stack([expected[0], expected[1].flip(2), expected[2]]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("bgr", [False, True])
@pytest.mark.parametrize("side", [40, 600])
def test_levels_are_normalised_as_for_extraction(side: int, bgr: bool) -> None:
    pictures = [noise(side, side, seed) for seed in range(2)]
    boxes, flips = torch.tensor([[0, 0, side, side]] * 2), torch.tensor([False, True])
    crops = resized_crops(pictures, boxes, flips, (32, 32))
    got = resized_crops(pictures, boxes, flips, (32, 32), mean=IMAGENET_MEAN, std=IMAGENET_STD, bgr=bgr)
    preprocessing = Preprocessing(mean=IMAGENET_MEAN, std=IMAGENET_STD, bgr=bgr)
    torch.testing.assert_close(got, preprocessing.normalise(crops.permute(0, 2, 3, 1)), atol=1e-5, rtol=1e-5)
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_blocks_and_bands_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = ragged(noise)
    boxes = draw_boxes(torch.tensor([picture.shape[1:] for picture in pictures]), seeded())
    flips = torch.arange(10) % 2 == 0
    monkeypatch.setattr(crops_module, "_CPU_BYTES", 1)
    one_by_one = resized_crops(pictures, boxes, flips, (48, 40))
    assert torch.equal(one_by_one, resized_crops(pictures, boxes, flips, (48, 40)))
    monkeypatch.setattr(crops_module, "_CPU_BYTES", 1 << 40)
    torch.testing.assert_close(resized_crops(pictures, boxes, flips, (48, 40)), one_by_one, atol=2e-3, rtol=0)


def test_what_lies_outside_of_a_box_does_not_count() -> None:
    picture = noise(60, 60, 0)
    box = torch.tensor([[10, 20, 30, 25]])
    other = torch.full_like(picture, 255)
    other[:, 10:40, 20:45] = picture[:, 10:40, 20:45]
    flips = torch.tensor([False])
    assert torch.equal(resized_crops([picture], box, flips, (24, 24)), resized_crops([other], box, flips, (24, 24)))


def by_torchvisions_draw(size: tuple[int, int], scale: Sequence[float] = (0.08, 1.0)) -> tuple[int, int, int, int]:
    """Top, left, height and width."""
    picture = torch.empty(3, *size, dtype=torch.uint8)
    return RandomResizedCrop.get_params(picture, list(scale), [3 / 4, 4 / 3])


@pytest.mark.parametrize("side", [20, 700])
def test_a_picture_may_be_a_view(side: int) -> None:
    whole = noise(side + 9, 2 * side, 0)
    for view in (
        whole[:, 4:-5, ::2],
        whole[:, 4:-5, side:],
        whole[:, 4:-5, :side].flip(0),
        whole[:1, 9:, :side].expand(3, -1, -1),
    ):
        boxes, flips = draw_boxes(torch.tensor([[side, side]]), seeded()), torch.tensor([False])
        crops = resized_crops([view], boxes, flips, (16, 16))
        assert torch.equal(crops, resized_crops([view.contiguous()], boxes, flips, (16, 16)))


# Height and width: a square, both directions, one where the ten attempts fail now and then, and one where a box seldom fits.
SIZES = [(64, 64), (375, 500), (500, 333), (60, 200), (300, 40)]


@pytest.mark.parametrize("size", SIZES)
def test_boxes_are_distributed_as_torchvisions(size: tuple[int, int]) -> None:
    count = 6000
    boxes = draw_boxes(torch.tensor([size] * count), seeded(3))
    height, width = size
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] >= 1).all()
    assert (boxes[:, 0] + boxes[:, 2] <= height).all() and (boxes[:, 1] + boxes[:, 3] <= width).all()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        expected = torch.tensor([by_torchvisions_draw(size) for _ in range(count)])
    for what in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 3] / box[:, 2],
        lambda box: box[:, 0],
        lambda box: box[:, 1],
        lambda box: box[:, 0] / (height - box[:, 2]).clamp(min=1),
        lambda box: box[:, 1] / (width - box[:, 3]).clamp(min=1),
        lambda box: box[:, 2],
    ):
        assert ks_2samp(what(boxes), what(expected)).pvalue > 1e-3


@pytest.mark.parametrize("size", [(1, 400), (400, 1), (10, 1000), (999, 7), (1, 1), (1, 2), (3, 1)])
def test_a_picture_without_a_fitting_box_gives_torchvisions_central_one(size: tuple[int, int]) -> None:
    # An area of a hundred times the picture's never fits.
    (box,) = draw_boxes(torch.tensor([size]), seeded(), scale=(100.0, 100.0)).tolist()
    assert box == list(by_torchvisions_draw(size, [100.0, 100.0]))


def test_boxes_come_from_the_generator_alone() -> None:
    sizes = torch.tensor(SIZES)
    torch.manual_seed(0)
    first = draw_boxes(sizes, seeded(1))
    before = torch.get_rng_state()
    assert torch.equal(draw_boxes(sizes, seeded(1)), first)
    assert torch.equal(torch.get_rng_state(), before)
    # A picture's box does not depend on its neighbours.
    other = sizes.clone()
    other[2] = torch.tensor([7, 9])
    kept = [0, 1, 3, 4]
    assert torch.equal(draw_boxes(other, seeded(1))[kept], first[kept])
    assert not torch.equal(draw_boxes(sizes, seeded(2)), first)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pictures": []}, "0 pictures; expected at least one"),
        ({"pictures": [torch.zeros(3, 8, 8)]}, r"picture 0 is torch\.float32 \(3, 8, 8\); expected uint8"),
        ({"boxes": torch.zeros(1, 4)}, r"boxes torch\.float32 \(1, 4\); expected int64 \(1, 4\)"),
        ({"boxes": torch.tensor([[0, 0, 8, 9]])}, r"\[0, 0, 8, 9\].* reaches out of picture 0 of \(8, 8\)"),
        ({"boxes": torch.tensor([[-1, 0, 8, 8]])}, "reaches out of picture 0"),
        ({"boxes": torch.tensor([[0, 0, 0, 8]])}, "is empty"),
        ({"flips": torch.zeros(1)}, r"flips torch\.float32 \(1,\); expected bool \(1,\)"),
        ({"size": (0, 4)}, r"size \(0, 4\); expected \(H, W\) of at least 1"),
        ({"interpolation": "nearest"}, "interpolation 'nearest'; expected bilinear or bicubic"),
        ({"mean": (0.5, 0.5, 0.5)}, "expected both of them, or neither"),
    ],
)
def test_what_cannot_be_cropped_is_refused(change: dict, told: str) -> None:
    given = {
        "pictures": [torch.zeros(3, 8, 8, dtype=torch.uint8)],
        "boxes": torch.tensor([[0, 0, 8, 8]]),
        "flips": torch.tensor([False]),
        "size": (4, 4),
        **change,
    }
    with pytest.raises(TrainingError, match=told):
        resized_crops(**given)


@pytest.mark.parametrize(
    ("sizes", "options", "told"),
    [
        (torch.zeros(2, 2, dtype=torch.int64), {}, r"expected int64 \(B, 2\)"),
        (torch.ones(2, 2), {}, r"sizes of pictures are torch\.float32 \(2, 2\)"),
        (torch.ones(2, 2, dtype=torch.int64), {"scale": (0.5, 0.1)}, r"scale is \(0\.5, 0\.1\)"),
        (torch.ones(2, 2, dtype=torch.int64), {"ratio": (0.0, 1.0)}, r"ratio is \(0\.0, 1\.0\)"),
    ],
)
def test_what_no_box_can_be_drawn_in_is_refused(sizes: torch.Tensor, options: dict, told: str) -> None:
    with pytest.raises(TrainingError, match=told):
        draw_boxes(sizes, seeded(), **options)
