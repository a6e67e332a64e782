"""What a detector is trained on and shown: batches of pictures of one shape, and the objects on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslbench.backbones import Preprocessing
from sslbench.datasets import ImageArray
from sslbench.features.joined import JoinedOriginals
from sslbench.features.originals import Originals
from sslbench.protocols._detection_options import Recipe
from sslbench.protocols.base import Part
from sslbench.training.crops import resized_crops
from sslbench.training.seeds import seed_of


@dataclass(frozen=True)
class Sizes:
    """How pictures are resized. short: the side lengths that the shorter side may get in training, the last one in tests.

    long: what the longer side is at most.
    """

    short: tuple[int, ...]
    long: int

    @classmethod
    def of(cls, recipe: Recipe, size: int | None) -> Sizes:
        """A recipe's, in proportion to another shorter side in tests."""
        largest = size or recipe.size
        spread = np.linspace(recipe.smallest, 1.0, recipe.sizes) if recipe.sizes > 1 else np.ones(1)
        return cls(tuple(int(part * largest + 0.5) for part in spread), int(recipe.longest * largest + 0.5))

    def shape(self, picture: tuple[int, int], short: int) -> tuple[int, int]:
        """Height and width of a picture, of which those before are given; as detectron2's `ResizeShortestEdge`."""
        scale = short / min(picture)
        if scale * max(picture) > self.long:
            scale = self.long / max(picture)
        high, wide = (max(1, int(side * scale + 0.5)) for side in picture)
        return high, wide


@dataclass(frozen=True)
class TrainingPictures:
    """Pictures of some splits with the objects on each, those without an object left out.

    boxes: float32 (M, 4) in fractions of the picture's width and height, which none exceeds. labels: int64 (M,) from 1.
    without: how many pictures were left out.
    """

    pictures: JoinedOriginals
    boxes: Sequence[Tensor]
    labels: Sequence[Tensor]
    without: int

    def __len__(self) -> int:
        return len(self.pictures)

    def __add__(self, other: TrainingPictures) -> TrainingPictures:
        return TrainingPictures(
            self.pictures + other.pictures,
            [*self.boxes, *other.boxes],
            [*self.labels, *other.labels],
            self.without + other.without,
        )

    def sizes(self) -> Tensor:
        """int64 (N, 2), height and width of the kept pictures."""
        places = self.pictures.places
        return torch.stack([self.pictures.originals[split].sizes[place] for split, place in places])


def annotated(part: Part, largest: int) -> TrainingPictures:
    """The pictures of a split that could be read and have an object. largest: pixels of the shorter side that are needed."""
    originals = part.originals(largest)
    places, boxes, labels = [], [], []
    for place, row in enumerate(originals.rows.tolist()):
        objects = part.targets.load(row)
        if len(objects):
            high, wide = originals.full_sizes[place].tolist()
            places.append((0, place))
            boxes.append((torch.from_numpy(objects.boxes) / torch.tensor([wide, high, wide, high])).clamp(0, 1))
            labels.append(torch.from_numpy(objects.labels) + 1)
    return TrainingPictures(JoinedOriginals([originals], places), boxes, labels, len(originals) - len(places))


def one_size(part: Part) -> tuple[int, int] | None:
    """Height and width of all pictures of an array; None for files, whose sizes are not known before they are opened."""
    if not isinstance(part.images, ImageArray):
        return None
    pixels: Any = part.images.load(range(1))
    high, wide = pixels.shape[1:3]
    return high, wide


class Stream:
    """The pictures of each step: shuffled passes without end, wide and other pictures never in one batch.

    As detectron2's sampler with aspect-ratio grouping: pictures come in the order of the passes, and a batch is complete as soon
    as there are enough of one kind, so that none is left out at the end of a pass.
    """

    def __init__(self, sizes: Tensor, batch: int, seed: int) -> None:
        self._wide = (sizes[:, 1] > sizes[:, 0]).tolist()
        self._batch, self._seed = batch, seed
        self._begin()

    def batch(self, number: int) -> list[int]:
        """Of a step; asked for in order it costs nothing, out of order what lies before is drawn again."""
        if number < self._number:
            self._begin()
        while self._number <= number:
            self._current = next(self._batches)
            self._number += 1
        return self._current

    def _begin(self) -> None:
        self._number, self._batches, self._current = 0, self._drawn(), list[int]()

    def _drawn(self) -> Iterator[list[int]]:
        waiting: dict[bool, list[int]] = {False: [], True: []}
        turn = 0
        while True:
            generator = torch.Generator().manual_seed(seed_of(self._seed, "pass", turn))
            for item in torch.randperm(len(self._wide), generator=generator).tolist():
                kind = waiting[self._wide[item]]
                kind.append(item)
                if len(kind) == self._batch:
                    yield kind.copy()
                    kind.clear()
            turn += 1


def shown(
    pictures: Sequence[Tensor],
    shapes: Sequence[tuple[int, int]],
    flips: Tensor,
    preprocessing: Preprocessing,
    divisor: int,
) -> Tensor:
    """Normalised pictures (B, 3, H, W) on the pictures' device, each resized to its shape, with zeros to the right and below.

    pictures: uint8 (3, h, w). shapes: height and width of each. flips: bool (B,), which are mirrored. divisor: of H and W.
    Resized by Pillow's bilinear filter, as in detectron2, but not rounded to whole levels.
    """
    high, wide = (-(-max(shape[side] for shape in shapes) // divisor) * divisor for side in (0, 1))
    device = pictures[0].device
    whole = torch.tensor([[0, 0, *picture.shape[1:]] for picture in pictures])
    out: Tensor | None = None
    for shape in dict.fromkeys(shapes):
        own = [number for number, each in enumerate(shapes) if each == shape]
        resized = resized_crops(
            [pictures[number] for number in own], whole[own], flips[own], shape, interpolation="bilinear",
            mean=preprocessing.mean, std=preprocessing.std, bgr=preprocessing.bgr,
        )  # fmt: skip
        if len(own) == len(shapes) and shape == (high, wide):
            return resized
        if out is None:
            out = torch.zeros((len(pictures), 3, high, wide), device=device)
            out = out.contiguous(memory_format=torch.channels_last)
        # One by one: indexing by a list sends it to the device, and waits there.
        for number, picture in zip(own, resized, strict=True):
            out[number, :, : shape[0], : shape[1]] = picture
    assert out is not None
    return out


def boxes_shown(boxes: Tensor, shape: tuple[int, int], *, flipped: bool) -> Tensor:
    """(M, 4) in pixels of a picture that is shown, from fractions."""
    high, wide = shape
    if flipped:
        boxes = torch.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], dim=1)
    return boxes * boxes.new_tensor([wide, high, wide, high])


def batches_by_shape(originals: Originals, sizes: Sizes, pixels: int) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Places of pictures that get one shape, and that shape: so a picture's padding does not depend on its neighbours.

    pixels: that a batch has at most, if it has more than one picture.
    """
    by_shape: dict[tuple[int, int], list[int]] = {}
    for place, (high, wide) in enumerate(originals.sizes.tolist()):
        by_shape.setdefault(sizes.shape((high, wide), sizes.short[-1]), []).append(place)
    for shape, places in sorted(by_shape.items()):
        count = max(1, pixels // (shape[0] * shape[1]))
        for start in range(0, len(places), count):
            yield places[start : start + count], shape
