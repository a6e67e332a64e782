"""Random resized crops of a batch of pictures of any sizes, in one resampling on the device that they are on.

The boxes are those of torchvision's `RandomResizedCrop` (Szegedy et al. 2015, "Going deeper with convolutions", section 6); the
resampling is Pillow's antialiased one, whose two passes are products with a matrix of weights for each crop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from sslbench.errors import TrainingError

ATTEMPTS = 10
# Of a block of crops in float32. A CPU's products are fastest on what its caches hold; a GPU wants few, large ones.
_CPU_BYTES, _DEVICE_BYTES = 1 << 21, 1 << 28
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
    device = pictures[0].device
    # Once for the batch, from what is small; all else is computed where the pictures are.
    there = torch.cat([boxes, flips[:, None]], dim=1).to(device, non_blocking=True)
    rows = _Weights(there[:, 2], size[0], interpolation, int(boxes[:, 2].max()))
    columns = _Weights(there[:, 3], size[1], interpolation, int(boxes[:, 3].max()), mirrored=there[:, 4] > 0)
    out = torch.empty((len(pictures), 3, *size), device=device, memory_format=torch.channels_last)
    corners = boxes.tolist()
    for start, stop in _chunks(corners, _CPU_BYTES if device.type == "cpu" else _DEVICE_BYTES):
        block = _block(pictures[start:stop], corners[start:stop])
        tall, wide = block.shape[1], block.shape[3]
        across = torch.bmm(block.view(stop - start, tall * 3, wide), columns.dense(start, stop, wide).mT).clamp_(0, 255)
        down = torch.bmm(rows.dense(start, stop, tall), across.view(stop - start, tall, 3 * size[1])).clamp_(0, 255)
        out[start:stop] = down.view(stop - start, size[0], 3, size[1]).transpose(1, 2)
    return _normalised(out, mean, std, bgr=bgr)


class _Weights:
    """How much each source pixel counts for each pixel of the result, of every crop of a batch.

    lengths: int64 (B,) on the device, source pixels of each crop. size: pixels of the result. longest: the largest of `lengths`.
    mirrored: bool (B,) or None for nowhere.
    """

    def __init__(
        self, lengths: Tensor, size: int, interpolation: str, longest: int, mirrored: Tensor | None = None
    ) -> None:
        support = _SUPPORT[interpolation]
        place = torch.arange(size, device=lengths.device).expand(len(lengths), size)
        if mirrored is not None:
            place = torch.where(mirrored[:, None], size - 1 - place, place)
        scale = (lengths.double() / size)[:, None]
        centre, reach = (place + 0.5) * scale, scale.clamp(min=1)
        first = (centre - support * reach + 0.5).floor().long()
        # As many as the widest filter of the batch has; those beyond a narrower one weigh nothing.
        self._taps = math.ceil(2 * support * max(longest / size, 1)) + 1
        source = first[:, :, None] + torch.arange(self._taps, device=lengths.device)
        weight = _FILTERS[interpolation]((source + 0.5 - centre[:, :, None]) / reach[:, :, None])
        weight = weight * ((source >= 0) & (source < lengths[:, None, None]))
        self._weight = (weight / weight.sum(dim=2, keepdim=True)).float()
        # A margin on both sides takes the taps beyond the borders: no two of them have the same place.
        self._index = source.clamp_(min=-self._taps) + self._taps

    def dense(self, start: int, stop: int, length: int) -> Tensor:
        """float32 (stop - start, size, length) of the crops start to stop."""
        index = self._index[start:stop]
        dense = torch.zeros((*index.shape[:2], length + 2 * self._taps), device=index.device)
        return dense.scatter_(2, index, self._weight[start:stop])[:, :, self._taps : self._taps + length]


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp_(min=0)


def _cubic(distance: Tensor) -> Tensor:
    x = distance.abs()
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _CUBIC
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


_FILTERS = {"bilinear": _triangle, "bicubic": _cubic}


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
    for place, (picture, (top, left, height, width)) in enumerate(zip(pictures, boxes, strict=True)):
        crop = picture[:, top : top + height, left : left + width]
        block[place, :height, :, :width] = crop.transpose(0, 1)
    return block


def _normalised(crops: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None, *, bgr: bool) -> Tensor:
    if mean is not None and std is not None:
        shift, scale = (torch.tensor(values, device=crops.device).view(3, 1, 1) for values in (mean, std))
        crops.div_(255).sub_(shift).div_(scale)
    return crops.flip(1) if bgr else crops


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
        f"interpolation {interpolation!r}": (interpolation in _FILTERS, " or ".join(_FILTERS)),
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
