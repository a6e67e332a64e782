"""What a detector is shown: sizes and order against detectron2's rules, pixels against Pillow's, boxes against pixels."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.backbones.preprocessing import Preprocessing
from sslbench.datasets import Boxes, ImageArray, ImageFiles, Objects
from sslbench.features.originals import open_originals
from sslbench.features.pictures import Pictures
from sslbench.protocols._detection_options import ADAMW, SMALL, STUDY, Options, canonical
from sslbench.protocols._detection_pictures import (
    Sizes,
    Stream,
    TrainingPictures,
    annotated,
    batches_by_shape,
    boxes_shown,
    shown,
)
from sslbench.protocols.base import Part
from sslbench.training.schedules import warmup_drops
from sslbench.training.seeds import seed_of

PLAIN = Preprocessing(input_size=(64, 64), resize=64, mean=(0.0,) * 3, std=(1 / 255,) * 3)


def part(images: ImageArray | ImageFiles, objects: list[Objects]) -> Part:
    return Part(
        images, Boxes(objects), features=None, unreadable=lambda rows: None, shown=None, maps=None,
        originals=lambda side: open_originals(
            images, side, extraction="exact", pictures=Pictures(Path("unused"), 0), device="cpu"
        ),
    )  # type: ignore[arg-type]  # fmt: skip


def one(boxes: list[list[float]]) -> Objects:
    return Objects(np.array(boxes, np.float32).reshape(-1, 4), np.arange(len(boxes)), np.zeros(len(boxes), bool))


def test_the_studys_sizes() -> None:
    sizes = Sizes.of(STUDY, None)
    assert sizes == Sizes((480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800), 1333)
    # Height and width, as detectron2's ResizeShortestEdge gives them for VOC's most frequent sizes and for a long picture.
    assert sizes.shape((375, 500), 800) == (800, 1067)
    assert sizes.shape((333, 500), 800) == (800, 1201)
    assert sizes.shape((500, 375), 480) == (640, 480)
    assert sizes.shape((150, 500), 800) == (400, 1333)
    assert Sizes.of(STUDY, 64).short == (38, 41, 44, 46, 49, 51, 54, 56, 59, 61, 64)
    assert Sizes.of(SMALL, None) == Sizes((64,), 128)


def test_the_studys_rates() -> None:
    """Golden values of the specification."""
    steps = 144_000
    drops = [round(fraction * steps) for fraction in STUDY.drops]
    assert drops == [96_000, 128_000]
    wanted = {
        0: 2.5e-6, 1: 2.7475e-5, 50: 1.25125e-3, 99: 2.475025e-3, 100: 2.5e-3, 95_999: 2.5e-3, 96_000: 2.5e-4,
        127_999: 2.5e-4, 128_000: 2.5e-5, 143_999: 2.5e-5,
    }  # fmt: skip
    for step, rate in wanted.items():
        factor = warmup_drops(step / steps, steps=steps, warmup=STUDY.warmup, first=STUDY.first, drops=drops)
        assert STUDY.rate * factor == pytest.approx(rate, rel=1e-12)
    assert (STUDY.batch, STUDY.decay, STUDY.optimiser, ADAMW.optimiser) == (2, 1e-4, "sgd", "adamw")


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_batches_are_detectron2s(batch: int) -> None:
    """Written out: items of both kinds are collected from an endless stream, and leave as soon as a batch is whole."""
    sizes = torch.tensor([[3, 4], [4, 3], [5, 5], [2, 9], [9, 2], [1, 2], [6, 5]])
    stream = Stream(sizes, batch, seed=5)
    drawn = [stream.batch(number) for number in range(40)]
    wide = [True, False, False, True, False, True, False]
    assert all(len(items) == batch and len({wide[item] for item in items}) == 1 for items in drawn)
    counts = np.bincount([item for items in drawn for item in items], minlength=7)
    # No picture is left out at the end of a pass.
    assert counts.max() - counts.min() <= 1 + batch
    waiting: dict[bool, list[int]] = {True: [], False: []}
    wanted: list[list[int]] = []
    for turn in range(40):
        generator = torch.Generator().manual_seed(seed_of(5, "pass", turn))
        for item in torch.randperm(7, generator=generator).tolist():
            waiting[wide[item]].append(item)
            if len(waiting[wide[item]]) == batch:
                wanted.append(waiting[wide[item]])
                waiting[wide[item]] = []
    assert drawn == wanted[:40]
    back = [stream.batch(number) for number in (7, 3, 39)]
    assert back == [drawn[7], drawn[3], drawn[39]]
    assert drawn != [Stream(sizes, batch, seed=6).batch(number) for number in range(40)]


def test_a_pass_has_every_picture_once() -> None:
    stream = Stream(torch.tensor([[3, 4]] * 8), 4, seed=0)
    assert sorted(stream.batch(0) + stream.batch(1)) == list(range(8))
    assert stream.batch(2) + stream.batch(3) != stream.batch(0) + stream.batch(1)


def test_pixels_are_pillows_and_the_rest_is_zero() -> None:
    generator = np.random.default_rng(0)
    smooth = [
        np.array(
            Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
                size, Image.Resampling.BICUBIC
            )
        )
        for size in ((50, 37), (40, 60), (64, 64))
    ]
    shapes = [(48, 65), (90, 60), (64, 64)]
    pictures = [torch.from_numpy(each).permute(2, 0, 1).contiguous() for each in smooth]
    flips = torch.tensor([False, True, False])
    found = shown(pictures, shapes, flips, PLAIN, 32)
    assert found.shape == (3, 3, 96, 96)
    for picture, (high, wide), flip, image in zip(smooth, shapes, flips.tolist(), found, strict=True):
        wanted = np.array(Image.fromarray(picture).resize((wide, high), Image.Resampling.BILINEAR), np.float32)
        wanted = wanted[:, ::-1] if flip else wanted
        inside = image[:, :high, :wide].permute(1, 2, 0).numpy()
        # Pillow rounds after each of its two passes.
        assert np.abs(inside - wanted).max() <= 1.01
        assert not image[:, high:].any() and not image[:, :, wide:].any()
    normalised = Preprocessing(input_size=(64, 64), resize=64, mean=(0.5,) * 3, std=(0.25,) * 3)
    padded = shown(pictures[:2], shapes[:2], flips[:2], normalised, 32)
    # Zeros after normalising, not before.
    assert not padded[0, :, 48:].any() and padded[0, :, :48, :65].min() < -0.5


def test_boxes_follow_their_pixels() -> None:
    """A white rectangle is found again where the box says, resized and mirrored."""
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[8:24, 12:33] = 255
    box = torch.tensor([[12 / 60, 8 / 40, 33 / 60, 24 / 40]])
    for flipped in (False, True):
        image = shown(
            [torch.from_numpy(picture).permute(2, 0, 1).contiguous()], [(80, 120)], torch.tensor([flipped]), PLAIN, 8
        )
        x1, y1, x2, y2 = boxes_shown(box, (80, 120), flipped=flipped)[0].tolist()
        rows, columns = ((image[0, 0] > 127).any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
        assert (rows.min().item(), rows.max().item() + 1) == (y1, y2) == (16, 48)
        assert (columns.min().item(), columns.max().item() + 1) == pytest.approx((x1, x2))


def test_boxes_are_of_the_size_before_a_picture_was_reduced(tmp_path: Path) -> None:
    paths = []
    for number, size in enumerate([(200, 100), (90, 300), (30, 20)]):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", size, (number, 0, 0)).save(paths[-1])
    images = ImageFiles("files", paths)
    objects = [one([[20, 10, 120, 60]]), one([]), one([[3, 2, 30, 20], [0, 0, 15, 10]])]
    found = annotated(part(images, objects), 50)
    assert found.sizes().tolist() == [[50, 100], [20, 30]] and found.without == 1
    assert torch.allclose(found.boxes[0], torch.tensor([[0.1, 0.1, 0.6, 0.6]]))
    assert torch.allclose(found.boxes[1], torch.tensor([[0.1, 0.1, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5]]))
    assert [labels.tolist() for labels in found.labels] == [[1], [1, 2]]
    both: TrainingPictures = found + found
    assert len(both) == 4 and both.without == 2
    assert [int(both.pictures.take([item])[0][0, 0, 0]) for item in (3, 0)] == [2, 0]
    opened = open_originals(images, 50, extraction="exact", pictures=Pictures(tmp_path, 1 << 20), device="cpu")
    for _ in range(2):
        assert opened.label == "kept" and opened.full_sizes.tolist() == [[100, 200], [300, 90], [20, 30]]
        opened = open_originals(images, 50, extraction="exact", pictures=Pictures(tmp_path, 1 << 20), device="cpu")


def test_pictures_of_one_shape_are_tested_together() -> None:
    images = ImageArray("array", np.zeros((7, 30, 40, 3), np.uint8))
    originals = part(images, [one([])] * 7).originals(800)
    found = list(batches_by_shape(originals, Sizes((60,), 100), 60 * 80 * 3))
    assert found == [([0, 1, 2], (60, 80)), ([3, 4, 5], (60, 80)), ([6], (60, 80))]
    # Of several sizes the last one is shown.
    assert {shape for _, shape in batches_by_shape(originals, Sizes((30, 45, 60), 100), 1)} == {(60, 80)}
    # What is too large for a batch is one of its own.
    assert [len(places) for places, _ in batches_by_shape(originals, Sizes((60,), 100), 1)] == [1] * 7


def test_options_have_one_spelling() -> None:
    assert canonical("frozen") == "frozen" and canonical("finetune") == "finetune"
    assert canonical("frozen+steps=50+recipe=small+size=64") == "frozen+recipe=small+steps=50+size=64"
    assert canonical("frozen+precision=bfloat16+batch=4") == "frozen+batch=4+precision=bfloat16"
    assert canonical("images") is None and canonical("steps=4") is None
    assert Options.parse("finetune+steps=7") == Options("finetune", steps=7)


def test_an_endless_stream_of_one_picture() -> None:
    stream = Stream(torch.tensor([[3, 4]]), 2, seed=0)
    assert list(islice((stream.batch(number) for number in range(3)), 3)) == [[0, 0]] * 3
