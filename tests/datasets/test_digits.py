"""The embedded digits."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset
from sslbench.datasets.embedded.digits import load


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load(Settings())


def test_counts(digits: Dataset) -> None:
    sizes = {name: len(split.targets) for name, split in digits.splits.items()}
    assert sizes == {"train": 1078, "val": 360, "test": 359}
    assert sum(sizes.values()) == 1797
    assert digits.classes == tuple("0123456789")
    assert digits.details["split_seed"] == 0


def test_the_splits_are_stratified(digits: Dataset) -> None:
    totals = np.bincount(load_digits().target)
    for name, fraction in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        counts = np.bincount(digits.splits[name].targets.values, minlength=10)
        assert np.abs(counts - fraction * totals).max() <= 1, name


def test_the_splits_hold_every_picture_once_with_its_label(digits: Dataset) -> None:
    # The 1,797 scans are all different, so pictures identify rows.
    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    expected = {image.tobytes(): label for image, label in zip(grey, bunch.target, strict=True)}
    assert len(expected) == 1797
    seen: set[bytes] = set()
    for split in digits.splits.values():
        pixels = split.images.load(range(len(split.images)))
        assert pixels.shape == (len(split.targets), 8, 8, 3)
        assert pixels.dtype == np.uint8
        assert (pixels == pixels[..., :1]).all()
        for image, label in zip(pixels[..., 0], split.targets.values, strict=True):
            assert expected[image.tobytes()] == label
            seen.add(image.tobytes())
    assert seen == expected.keys()


def test_loading_again_gives_the_same_fingerprints(digits: Dataset) -> None:
    again = load(Settings())
    assert again.fingerprint == digits.fingerprint
    assert len({split.images.fingerprint for split in again.splits.values()}) == 3
