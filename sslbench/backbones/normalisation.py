"""Statistics of pictures by which a network wants them normalised: from options of its name, or from its attributes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sslbench.backbones.options import Options
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.errors import BackboneError

Triple = tuple[float, float, float]


def check_statistics(where: str, what: str, values: Iterable[float]) -> Triple:
    """The three numbers, of red, green and blue.

    what: begins with `mean` or `std`. Raises BackboneError for numbers that pictures in [0, 1] cannot have.
    """
    red, green, blue = (float(value) for value in values)
    for value in (red, green, blue):
        possible = 0 <= value <= 1 if "mean" in what else 0 < value <= 1
        if not (math.isfinite(value) and possible):
            raise BackboneError(
                f"{where}: {what} {value:g} cannot be meant: pictures are in [0, 1], where a mean lies from 0 to 1 and a "
                "standard deviation is above 0 and at most 1. Divide statistics of pictures in 0..255 by 255"
            )
    return red, green, blue


def apply_options(preprocessing: Preprocessing, options: Options) -> Preprocessing:
    """The preprocessing with what the options `mean`, `std` and `bgr` of a name change.

    mean, std: three numbers separated by `|`, or one for all channels. Raises BackboneError for anything else.
    """
    changes: dict[str, Any] = {}
    for what in ("mean", "std"):
        if text := options.text(what):
            parts = text.split("|")
            try:
                numbers = [float(part) for part in (parts * 3 if len(parts) == 1 else parts)]
            except ValueError:
                numbers = []
            if len(numbers) != 3:
                raise BackboneError(
                    f"{options.name}: option {what} takes one number, or three separated by | (red|green|blue), got {text!r}"
                )
            changes[what] = check_statistics(options.name, what, numbers)
    if options.flag("bgr"):
        changes["bgr"] = True
    return replace(preprocessing, **changes)
