"""Images as a user may write them: a list of RGB pictures, None for one that could not be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL.Image import Image

from sslbench.datasets import Images


class Pictures(Images):
    def __init__(self, fingerprint: str, count: int, picture: Callable[[int], Image | None]) -> None:
        self.fingerprint, self.count, self.picture = fingerprint, count, picture

    def __len__(self) -> int:
        return self.count

    def load(self, rows: Sequence[int] | np.ndarray) -> list[Image | None]:
        return [self.picture(int(row)) for row in rows]
