"""What a dense head is trained on and tested on: pictures with their class maps, sizes, labels on the head's grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sslbench.datasets import Targets
from sslbench.features.joined import JoinedOriginals
from sslbench.features.originals import Originals
from sslbench.protocols._dense_coding import Coding, check_counts, check_size
from sslbench.protocols.base import Part

Array = npt.NDArray[Any]
Shape = tuple[int, int]


@dataclass(frozen=True)
class DensePictures:
    """The pictures of some splits that could be read, numbered through, and what is true of them.

    names, targets: of each split, in the order of `pictures.originals`. coding: of the targets.
    """

    pictures: JoinedOriginals
    names: Sequence[str]
    targets: Sequence[Targets]
    coding: Coding

    def __len__(self) -> int:
        return len(self.pictures)

    def sizes(self) -> list[Shape]:
        """Height and width of each picture before it was reduced."""
        full = [originals.full_sizes.tolist() for originals in self.pictures.originals]
        return [(full[split][place][0], full[split][place][1]) for split, place in self.pictures.places]

    def counts(self) -> dict[str, int]:
        """Pictures of each split."""
        return {name: len(each) for name, each in zip(self.names, self.pictures.originals, strict=True)}

    def target(self, item: int) -> Array:
        """What is true of a picture. Raises DataError where that does not fit the picture or the classes."""
        split, place = self.pictures.places[item]
        originals = self.pictures.originals[split]
        row = int(originals.rows[place])
        found: Array = np.asarray(self.targets[split].load(row))
        where = f"{self.names[split]}, row {row}"
        high, wide = originals.full_sizes[place].tolist()
        check_size(found, (high, wide), where)
        self.coding.check(found, self.targets[split], where)
        return found

    def encoded(self, item: int) -> Array:
        """Its map of classes."""
        return self.coding.encode(self.target(item), self.targets[self.pictures.places[item][0]])

    def class_pixels(self) -> npt.NDArray[np.int64]:
        """Pixels of each class of the coding (K,). Raises DataError for a mask of which no pixel counts, and as `target`."""
        total = np.zeros(self.coding.classes, np.int64)
        for item, (split, place) in enumerate(self.pictures.places):
            labels = self.encoded(item)
            own = np.bincount(labels[labels != self.coding.none], minlength=self.coding.classes)
            check_counts(own, f"{self.names[split]}, row {int(self.pictures.originals[split].rows[place])}")
            total += own
        return total

    def any_learnable(self) -> bool:
        """Whether some pixel of some picture counts; read until one is found."""
        return any(bool((self.encoded(item) != self.coding.none).any()) for item in range(len(self)))


def pictures_of(parts: Mapping[str, Part], largest: int, coding: Coding) -> DensePictures:
    """Those of some splits by name. largest: pixels of the shorter side that are needed."""
    originals = [part.originals(largest) for part in parts.values()]
    places = [(split, place) for split, each in enumerate(originals) for place in range(len(each))]
    return DensePictures(JoinedOriginals(originals, places), list(parts), [x.targets for x in parts.values()], coding)


def resized(picture: Shape, short: int, longest: int) -> Shape:
    """Height and width with a shorter side of `short`, or a longer one of `longest` if that is less; cut to whole pixels.

    As CSAIL's semantic-segmentation-pytorch, in whole numbers, which do not round.
    """
    least, most = min(picture), max(picture)
    above, below = (short, least) if short * most <= longest * least else (longest, most)
    high, wide = (max(1, side * above // below) for side in picture)
    return high, wide


def padded(shape: Shape, divisor: int) -> Shape:
    """The next multiples of the divisor."""
    return -(-shape[0] // divisor) * divisor, -(-shape[1] // divisor) * divisor


def labels_shown(
    maps: Sequence[Array],
    shapes: Sequence[Shape],
    flips: Sequence[bool],
    whole: Shape,
    grid: Shape,
    *,
    none: int,
    outside: int,
) -> Array:
    """Labels on a head's grid: of each cell what its middle shows.

    Args:
        maps: (H, W) of each picture, at any size.
        shapes: height and width at which each picture is shown, at the left upper corner.
        flips: which of them are mirrored there.
        whole: height and width of what is shown, padding included.
        grid: rows and columns.
        none: what a map has where nothing counts.
        outside: what cells get whose middle lies in the padding.

    Returns:
        (B, rows, columns) of the maps' type.
    """
    found = np.full((len(maps), *grid), outside, dtype=maps[0].dtype)
    for number, (own, shape, flip) in enumerate(zip(maps, shapes, flips, strict=True)):
        rows, columns = (
            _middles(whole[side], grid[side], shape[side], own.shape[side], mirrored=flip and side == 1)
            for side in (0, 1)
        )
        found[number, : len(rows), : len(columns)] = own[rows[:, None], columns]
    return found


def _middles(whole: int, cells: int, shown: int, pixels: int, *, mirrored: bool) -> npt.NDArray[np.int64]:
    """The pixel under the middle of each cell that lies in the picture."""
    # In units of half a cell's share, so that no quotient is rounded.
    middle = (2 * np.arange(cells) + 1) * whole
    middle = middle[middle < 2 * cells * shown]
    if mirrored:
        middle = 2 * cells * shown - middle
    return np.minimum(middle * pixels // (2 * cells * shown), pixels - 1)


def batches_alike(originals: Originals, pixels: int) -> Iterator[list[int]]:
    """Places of pictures of one size, as kept and in full. pixels: of a full batch at most, if it has more than one picture."""
    alike: dict[tuple[int, ...], list[int]] = {}
    both = torch.cat([originals.full_sizes, originals.sizes], dim=1)
    for place, key in enumerate(both.tolist()):
        alike.setdefault(tuple(key), []).append(place)
    for (high, wide, *_), places in sorted(alike.items()):
        count = max(1, pixels // (high * wide))
        for start in range(0, len(places), count):
            yield places[start : start + count]


def rows_enlarged(maps: Tensor, size: Shape, start: int, stop: int) -> Tensor:
    """Rows `start` to `stop` of maps (B, K, h, w) enlarged bilinearly to a size, without aligned corners: (B, K, rows, W).

    So the whole of a large picture's probabilities need not be there at once.
    """
    high = maps.shape[2]
    place = (torch.arange(start, stop, device=maps.device, dtype=torch.float64) + 0.5) * (high / size[0]) - 0.5
    place = place.clamp(0, high - 1)
    above = place.floor().long()
    share = (place - above).to(maps.dtype)[:, None]
    # Of the few rows that count only, since there are many more above and below.
    lines = torch.lerp(maps[:, :, above], maps[:, :, (above + 1).clamp(max=high - 1)], share)
    return torch.nn.functional.interpolate(lines, (stop - start, size[1]), mode="bilinear", align_corners=False)
