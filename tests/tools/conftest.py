"""Tiny pictures in the layout of the pretraining data."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def pictures(classes: int, each: int, seed: int) -> list[tuple[int, np.ndarray]]:
    """Four coloured quarters of its own on each picture; stripes tell the class."""
    rng = np.random.default_rng(seed)
    rows = []
    for label in range(classes):
        for _ in range(each):
            image = rng.integers(0, 256, (2, 2, 3)).repeat(32, axis=0).repeat(32, axis=1)
            image[:: 2 + label] //= 3
            rows.append((label, image.clip(0, 255).astype(np.uint8)))
    return rows


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip with train/CLASS/ and val/CLASS/: 4 classes, 16 and 6 pictures each."""
    path = tmp_path_factory.mktemp("photographs") / "photographs.zip"
    with zipfile.ZipFile(path, "w") as file:
        for split, each in (("train", 16), ("val", 6)):
            for number, (label, pixels) in enumerate(pictures(4, each, seed=each)):
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "PNG")
                file.writestr(f"{split}/n{label}/{number:03}.png", buffer.getvalue())
    return path
