"""Random resized crops of a batch of pictures of any sizes, in one resampling on the device that they are on.

The boxes are those of torchvision's `RandomResizedCrop` (Szegedy et al. 2015, "Going deeper with convolutions", section 6); the
resampling is Pillow's antialiased one, whose two passes are products with a matrix of weights for each crop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Generator, Tensor

from sslbench.errors import TrainingError
from sslbench.training.transfer import sent

ATTEMPTS = 10
# Of a block of crops in float32. A CPU's products are fastest on what its caches hold; a GPU wants few, large ones.
_CPU_BYTES, _DEVICE_BYTES = 1 << 20, 1 << 28
# How many columns of the result share the columns of the source that a product reads.
_BAND = 32
# The steepness of Pillow's cubic; torchvision has the same where it antialiases.
_CUBIC = -0.5
# Source pixels that a filter reaches to each side when nothing is reduced.
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}


def draw_boxes(
    sizes: Tensor,
    generator: Generator,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """A box in each picture, distributed as those of torchvision's `RandomResizedCrop.get_params`.

    Area and side ratio are drawn up to ten times, until the box fits; after that it is the largest central one with a side
    ratio within `ratio`.

    Args:
        sizes: int64 (B, 2), height and width of each picture, on the CPU.
        generator: of the CPU; all that is random comes from it, the same number of draws whatever the sizes.
        scale: smallest and largest area, as a fraction of the picture's.
        ratio: smallest and largest width divided by height, drawn uniformly in the logarithm.

    Returns:
        int64 (B, 4) on the CPU: top, left, height, width.

    Raises:
        TrainingError: sizes of another shape or without pixels, or bounds that are not positive and in order.
    """
    _check_sizes(sizes)
    for name, (low, high) in {"scale": scale, "ratio": ratio}.items():
        if not 0 < low <= high:
            raise TrainingError(f"{name} is {(low, high)}; expected two positive numbers, the smaller one first")
    count = len(sizes)
    height, width = sizes.unbind(1)
    draws = torch.rand(2, count, ATTEMPTS, generator=generator, dtype=torch.float64)
    places = torch.rand(2, count, generator=generator, dtype=torch.float64)
    area = (height * width).double()[:, None] * (scale[0] + (scale[1] - scale[0]) * draws[0])
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(log_low + (log_high - log_low) * draws[1])
    widths, heights = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
    fits = (widths > 0) & (widths <= width[:, None]) & (heights > 0) & (heights <= height[:, None])
    first = fits.int().argmax(dim=1, keepdim=True)
    box_height, box_width = heights.gather(1, first)[:, 0], widths.gather(1, first)[:, 0]
    top = (places[0] * (height - box_height + 1)).long()
    left = (places[1] * (width - box_width + 1)).long()
    drawn = torch.stack([top, left, box_height, box_width], dim=1)
    return torch.where(fits.any(dim=1, keepdim=True), drawn, _central_boxes(height, width, ratio))


def _central_boxes(height: Tensor, width: Tensor, ratio: tuple[float, float]) -> Tensor:
    actual = width.double() / height.double()
    box_height = torch.where(actual < ratio[0], (width / ratio[0]).round().long(), height)
    box_width = torch.where(actual > ratio[1], (height * ratio[1]).round().long(), width)
    return torch.stack([(height - box_height) // 2, (width - box_width) // 2, box_height, box_width], dim=1)


def resized_crops(
    pictures: Sequence[Tensor],
    boxes: Tensor,
    flips: Tensor,
    size: tuple[int, int],
    *,
    interpolation: str = "bicubic",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    bgr: bool = False,
) -> Tensor:
    """Each picture's box, resized with antialiasing as Pillow does, and mirrored where asked.

    What lies outside of a box does not count. Levels are clipped to 0..255 after the horizontal and after the vertical pass, as
    Pillow does, but not rounded. The same input gives the same bits.

    Args:
        pictures: B pictures uint8 (3, h, w) on one device.
        boxes: int64 (B, 4) on the CPU, as `draw_boxes` gives them.
        flips: bool (B,) on the CPU, which ones are mirrored left to right.
        size: (H, W) of the result.
        interpolation: `bicubic` or `bilinear`.
        mean: of red, green and blue, in levels from 0 to 1; with `std`, what is normalised by. None leaves levels from 0 to 255.
        std: given with `mean`.
        bgr: whether blue comes first in the result.

    Returns:
        float32 (B, 3, H, W) on the pictures' device, channels_last.

    Raises:
        TrainingError: no picture, or pictures, boxes or flips of another type, number or shape than these; a box that is empty or
            reaches out of its picture; an unknown interpolation; `mean` without `std` or the other way round.
    """
    _check_crops(pictures, boxes, flips, size, interpolation)
    if (mean is None) != (std is None):
        raise TrainingError(f"mean is {mean} and std is {std}; expected both of them, or neither")
    device = pictures[0].device
    # Once for the batch, from what is small; all else is computed where the pictures are.
    there = sent(torch.cat([boxes, flips[:, None]], dim=1), device)
    rows = _Weights(there[:, 2], size[0], interpolation, int(boxes[:, 2].max()))
    columns = _Weights(there[:, 3], size[1], interpolation, int(boxes[:, 3].max()), mirrored=there[:, 4] > 0)
    affine = None if mean is None or std is None else _affine(tuple(mean), tuple(std), size[1], device)
    out = torch.empty((len(pictures), 3, *size), device=device, memory_format=torch.channels_last)
    corners, mirrored = boxes.tolist(), flips.tolist()
    for start, stop in _chunks(corners, _CPU_BYTES if device.type == "cpu" else _DEVICE_BYTES):
        block = _block(pictures[start:stop], corners[start:stop])
        if stop - start == 1 and device.type == "cpu":
            lines = _one_by_bands(block, rows, columns, start, mirrored=mirrored[start])
        else:
            lines = _several(block, rows, columns, start)
        if affine is not None:
            torch.addcmul(affine[1], lines, affine[0], out=lines)
        levels = lines.view(-1, size[0], 3, size[1])
        out[start:stop] = (levels.flip(2) if bgr else levels).transpose(1, 2)
    return out


def _several(block: Tensor, rows: _Weights, columns: _Weights, start: int) -> Tensor:
    """Lines of each colour in turn, (B, H, 3 W) from 0 to 255, of crops (B, h, 3, w) that begin with number `start`."""
    count, tall, _, wide = block.shape
    across = torch.bmm(block.view(count, tall * 3, wide), columns.dense(start, start + count, wide)).clamp_(0, 255)
    down = torch.bmm(rows.dense(start, start + count, tall).mT, across.view(count, tall, 3 * columns.size))
    return down.clamp_(0, 255)


def _one_by_bands(block: Tensor, rows: _Weights, columns: _Weights, number: int, *, mirrored: bool) -> Tensor:
    """The same of one large crop, whose weights are mostly zeros: of a few lines of the result at a time only some count."""
    _, tall, _, wide = block.shape
    lines, weights = block.view(tall * 3, wide), columns.dense(number, number + 1, wide)[0]
    across = lines.new_empty((tall * 3, columns.size))
    for into, taken in columns.bands(wide, mirrored=mirrored):
        torch.mm(lines[:, taken], weights[taken, into], out=across[:, into])
    across = across.clamp_(0, 255).view(tall, 3 * columns.size)
    weights = rows.dense(number, number + 1, tall)[0]
    down = lines.new_empty((1, rows.size, 3 * columns.size))
    for into, taken in rows.bands(tall):
        torch.mm(weights[taken, into].T, across[taken], out=down[0, into])
    return down.clamp_(0, 255)


class _Weights:
    """How much each source pixel counts for each pixel of the result, of every crop of a batch.

    lengths: int64 (B,) on the device, source pixels of each crop. size: pixels of the result. longest: the largest of `lengths`.
    mirrored: bool (B,) or None for nowhere.
    """

    def __init__(
        self, lengths: Tensor, size: int, interpolation: str, longest: int, mirrored: Tensor | None = None
    ) -> None:
        self.size, self._support = size, _SUPPORT[interpolation]
        place = torch.arange(size, device=lengths.device).expand(len(lengths), size)
        if mirrored is not None:
            place = torch.where(mirrored[:, None], size - 1 - place, place)
        scale = (lengths.double() / size)[:, None]
        centre, reach = (place + 0.5) * scale, scale.clamp(min=1)
        first = (centre - self._support * reach + 0.5).floor()
        # As many as the widest filter of the batch has; those beyond a narrower one weigh nothing.
        self._taps = math.ceil(2 * self._support * max(longest / size, 1)) + 1
        # (B, taps, size), since operations on lines of a few taps take several times as long.
        taps = torch.arange(self._taps, device=lengths.device)[:, None]
        # What is left after the difference is small enough for float32.
        distance = (first + 0.5 - centre).float()[:, None] + taps
        weight = FILTERS[interpolation](distance.div_(reach.float()[:, None]).abs_())
        # Of source pixels outside of the crop nothing counts.
        low, high = -first.float()[:, None], (lengths[:, None] - first).float()[:, None]
        weight.mul_(taps >= low).mul_(taps < high)
        self._weight = weight.div_(weight.sum(dim=1, keepdim=True))
        # A margin on both sides takes the taps beyond the borders: no two of them have the same place.
        self._index = (first.long() + self._taps)[:, None] + taps

    def dense(self, start: int, stop: int, length: int) -> Tensor:
        """float32 (stop - start, length, size) of the crops start to stop."""
        dense = torch.zeros((stop - start, length + 2 * self._taps, self.size), device=self._index.device)
        dense.scatter_(1, self._index[start:stop], self._weight[start:stop])
        return dense[:, self._taps : self._taps + length]

    def bands(self, length: int, *, mirrored: bool = False) -> Iterator[tuple[slice, slice]]:
        """Neighbours in the result of a crop of so many pixels, and all source pixels that count for one of them."""
        scale = length / self.size
        reach = self._support * max(scale, 1)
        for start in range(0, self.size, _BAND):
            stop = min(start + _BAND, self.size)
            first, last = (self.size - stop, self.size - start - 1) if mirrored else (start, stop - 1)
            low, high = math.floor((first + 0.5) * scale - reach), math.ceil((last + 0.5) * scale + reach)
            yield slice(start, stop), slice(max(low, 0), min(high, length))


# Kept, so that a training sends it to the device once.
@lru_cache(maxsize=256)
def _affine(mean: tuple[float, ...], std: tuple[float, ...], width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What a line (3 W) from 0 to 255 is multiplied by, and what is added then."""
    spread = torch.tensor(std, dtype=torch.float64)
    shift = -torch.tensor(mean, dtype=torch.float64) / spread
    # As long as the line: one number for each colour would not be taken several at a time.
    factor, shift = (values.float().to(device).repeat_interleave(width) for values in (1 / (255 * spread), shift))
    return factor, shift


def _triangle(x: Tensor) -> Tensor:
    return (1 - x).clamp_(min=0)


def _cubic(x: Tensor) -> Tensor:
    x = x.clamp(max=2)
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)).mul_(x).mul_(x).add_(1)
    far = (x - 5).mul_(x).add_(8).mul_(x).sub_(4).mul_(_CUBIC)
    return torch.where(x < 1, near, far)


# Of the distance from the centre, which is not negative, in source pixels or, where it is reduced, in pixels of the result.
FILTERS = {"bilinear": _triangle, "bicubic": _cubic}
"""By the name of the interpolation."""


def _chunks(boxes: list[list[int]], most: int) -> Iterator[tuple[int, int]]:
    """Neighbours whose block, padded to the largest, takes at most so many bytes; one at least."""
    start, tall, wide = 0, 0, 0
    for place, (_, _, height, width) in enumerate(boxes):
        taller, wider = max(tall, height), max(wide, width)
        if place > start and 12 * taller * wider * (place + 1 - start) > most:
            yield start, place
            start, taller, wider = place, height, width
        tall, wide = taller, wider
    yield start, len(boxes)


def _block(pictures: Sequence[Tensor], boxes: list[list[int]]) -> Tensor:
    """Crops float32 (B, height, 3, width), with zeros below and to the right of smaller ones.

    A line of each colour in turn, so that both passes are one product a crop.
    """
    tall, wide = max(box[2] for box in boxes), max(box[3] for box in boxes)
    same = all(box[2:4] == boxes[0][2:4] for box in boxes)
    # Only what is filled whole may be left as it comes: weights of nothing do not make NaN a zero.
    make = torch.empty if same else torch.zeros
    block = make((len(boxes), tall, 3, wide), device=pictures[0].device)
    for picture, (top, left, height, width), place in zip(pictures, boxes, block.unbind(), strict=True):
        colour, line, column = picture.stride()
        # One view instead of three: for small pictures they take longer than the copy.
        crop = picture.as_strided(
            (height, 3, width), (line, colour, column), picture.storage_offset() + top * line + left * column
        )
        (place if same else place[:height, :, :width]).copy_(crop)
    return block


def _check_sizes(sizes: Tensor) -> None:
    if sizes.dtype != torch.int64 or sizes.ndim != 2 or sizes.shape[1] != 2 or not bool((sizes > 0).all()):
        raise TrainingError(
            f"sizes of pictures are {sizes.dtype} {tuple(sizes.shape)}; expected int64 (B, 2), heights and widths of at least 1"
        )


def _check_crops(
    pictures: Sequence[Tensor], boxes: Tensor, flips: Tensor, size: tuple[int, int], interpolation: str
) -> None:
    count = len(pictures)
    rules = {
        f"{count} pictures": (count > 0, "at least one"),
        f"boxes {boxes.dtype} {tuple(boxes.shape)}": (
            boxes.dtype == torch.int64 and boxes.shape == (count, 4),
            f"int64 ({count}, 4), one for each picture",
        ),
        f"flips {flips.dtype} {tuple(flips.shape)}": (
            flips.dtype == torch.bool and flips.shape == (count,),
            f"bool ({count},), one for each picture",
        ),
        f"size {size}": (min(size) > 0, "(H, W) of at least 1"),
        f"interpolation {interpolation!r}": (interpolation in FILTERS, " or ".join(FILTERS)),
    }
    for what, (holds, expected) in rules.items():
        if not holds:
            raise TrainingError(f"resized_crops was given {what}; expected {expected}")
    for place, picture in enumerate(pictures):
        if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[0] != 3:
            raise TrainingError(
                f"picture {place} is {picture.dtype} {tuple(picture.shape)}; expected uint8 (3, height, width)"
            )
    sizes = torch.tensor([picture.shape[1:] for picture in pictures])
    bad = (boxes[:, :2] < 0).any(1) | (boxes[:, 2:] < 1).any(1) | (boxes[:, :2] + boxes[:, 2:] > sizes).any(1)
    if bool(bad.any()):
        place = int(bad.nonzero()[0])
        raise TrainingError(
            f"the box {boxes[place].tolist()} (top, left, height, width) is empty or reaches out of picture {place} of "
            f"{tuple(sizes[place].tolist())}; draw it with draw_boxes from the sizes of these pictures"
        )
