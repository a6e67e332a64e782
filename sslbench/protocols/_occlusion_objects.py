"""Which pixels of a picture show an object, where masks or boxes tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sslbench.datasets import Boxes, Masks, Targets
from sslbench.errors import DataError

if TYPE_CHECKING:
    from sslbench.backbones import Preprocessing

BACKGROUND = "background"
OBJECT, UNKNOWN = 1, 2


def tell_objects(targets: Targets, classes: Sequence[str]) -> bool:
    """Whether targets say where objects are: boxes, or masks with a class `background`."""
    return isinstance(targets, Boxes) or (isinstance(targets, Masks) and BACKGROUND in classes)


def objects_of(targets: Targets, classes: Sequence[str], row: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """uint8 (H, W) of 1 on objects, 0 beside them, 2 where a mask ignores the pixel. size: of the picture.

    An object's box counts in full, difficult ones too. Raises DataError for a mask of another size.
    """
    found: Any = targets.load(row)
    if isinstance(targets, Masks):
        if found.shape[:2] != size:
            raise DataError(
                f"test picture {row}: its mask has {found.shape[0]} x {found.shape[1]} pixels and the picture {size[0]} x "
                f"{size[1]}; correct the files"
            )
        code: npt.NDArray[np.uint8] = (found != list(classes).index(BACKGROUND)).astype(np.uint8) * OBJECT
        if targets.ignore is not None:
            code[found == targets.ignore] = UNKNOWN
        return code
    code = np.zeros(size, dtype=np.uint8)
    for box in found.boxes:
        # A negative end would count from the other side.
        x1, y1, x2, y2 = (max(0, round(float(end))) for end in box)
        code[y1:y2, x1:x2] = OBJECT
    return code


def as_shown(code: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """The same pixels after the resize and crop of the picture, each the nearest one's."""
    from PIL import Image

    nearest = replace(preprocessing, interpolation="nearest")
    return np.asarray(nearest.geometry(Image.fromarray(code)), dtype=np.uint8)
