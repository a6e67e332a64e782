"""The readers against torchvision's dataset classes, wherever those give the official split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets as tv
from torchvision.datasets import cifar, flowers102

from sslbench.config import Settings
from sslbench.datasets import load_dataset
from sslbench.datasets.splits import study_validation
from tests.datasets.published.builders import build

Reference = Callable[[Path, str], Any]
REFERENCES: dict[str, tuple[str, Reference]] = {
    "aircraft": ("fgvc-aircraft-2013b/data", lambda root, split: tv.FGVCAircraft(root, split)),
    "cars": ("stanford_cars", lambda root, split: tv.StanfordCars(root, split)),
    "cifar10": ("cifar-10-batches-py", lambda root, split: tv.CIFAR10(root, train=split == "train")),
    "cifar100": ("cifar-100-python", lambda root, split: tv.CIFAR100(root, train=split == "train")),
    "dtd": ("dtd/dtd", lambda root, split: tv.DTD(root, split)),
    "flowers": ("flowers-102", lambda root, split: tv.Flowers102(root, split)),
    "food": ("food-101", lambda root, split: tv.Food101(root, split)),
    "pets": ("oxford-iiit-pet", lambda root, split: tv.OxfordIIITPet(root, {"train": "trainval"}.get(split, split))),
    "eurosat": ("eurosat", lambda root, split: tv.EuroSAT(root)),
    "cropdiseases": ("CropDiseases", lambda root, split: tv.ImageFolder(root / "CropDiseases/dataset/train")),
}


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision knows the md5 of the real files."""
    monkeypatch.setattr(cifar, "check_integrity", lambda path, md5=None: True)
    monkeypatch.setattr(flowers102, "check_integrity", lambda path, md5=None: True)


def rows(name: str, data_dir: Path) -> dict[str, list[tuple[np.ndarray, int]]]:
    """Pictures and labels of the official splits, a drawn validation put back where it came from."""
    dataset = load_dataset(name, Settings(data_dir=data_dir, check_data="loose"))
    pairs = {
        split: list(
            zip(map(np.asarray, part.images.load(range(len(part.images)))), part.targets.values.tolist(), strict=True)
        )
        for split, part in dataset.splits.items()
    }
    if dataset.details.get("val", "official") != "official":
        total = len(pairs["train"]) + len(pairs["val"])
        merged: list[Any] = [None] * total
        for part, indices in zip(("train", "val"), study_validation(total), strict=True):
            for row, pair in zip(np.sort(indices), pairs[part], strict=True):
                merged[row] = pair
        pairs = {"train": merged, "test": pairs["test"]}
    return pairs


@pytest.mark.parametrize("name", REFERENCES)
def test_same_rows_as_torchvision(name: str, tmp_path: Path) -> None:
    layout, reference = REFERENCES[name]
    built = build(name, tmp_path, layout)
    if name == "aircraft":
        (built.root / "variants.txt").write_text("".join(f"{variant}\n" for variant in built.classes))
    for split, ours in rows(name, tmp_path).items():
        theirs = [(np.asarray(image), label) for image, label in reference(tmp_path, split)]
        assert len(ours) == len(theirs) > 0
        if name == "food":
            # torchvision goes by the keys of the JSON, the official code by classes.txt.
            assert [label for _, label in ours] != [label for _, label in theirs]
            ours, theirs = (sorted(part, key=lambda pair: (pair[1], pair[0].tobytes())) for part in (ours, theirs))
        for (image, label), (other_image, other_label) in zip(ours, theirs, strict=True):
            assert label == other_label
            np.testing.assert_array_equal(image, other_image)
