"""The real 8x8 handwritten digits that come with scikit-learn."""

from __future__ import annotations

import hashlib

import numpy as np

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec, Split
from sslbench.datasets.images import ImageArray
from sslbench.datasets.splits import stratified
from sslbench.datasets.targets import Labels

SPLIT_SEED = 0
FRACTIONS = (0.6, 0.2, 0.2)
SPECS = [
    DatasetSpec(
        name="digits",
        loader=f"{__name__}:load",
        num_classes=10,
        summary="8x8 greyscale handwritten digits, real scans",
        licence="CC BY 4.0",
        origin="scikit-learn's load_digits (UCI optical recognition of handwritten digits, test part)",
    )
]


def load(settings: Settings) -> Dataset:
    """1,797 images in 10 classes, split 60/20/20, stratified with seed 0 (there is no official split)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(grey[..., None], 3, axis=-1)
    targets = bunch.target.astype(np.int64)
    parts = dict(zip(("train", "val", "test"), stratified(targets, FRACTIONS, SPLIT_SEED), strict=True))

    def split(name: str) -> Split:
        pixels = images[parts[name]]
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
        return Split(name, ImageArray(f"digits:{digest}", pixels), Labels(targets[parts[name]]))

    return Dataset(
        name="digits",
        classes=tuple(str(digit) for digit in range(10)),
        splits={name: split(name) for name in parts},
        metric="top1",
        details={"split": "stratified 60/20/20", "split_seed": SPLIT_SEED},
    )
