"""Runs with one record of dense prediction on nine pictures, which are a dataset of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from sslbench.datasets import Dataset, DatasetSpec, ImageFiles, Masks, Split, register_dataset
from sslbench.metrics.angles import Angles
from sslbench.metrics.dense import DenseScores
from sslbench.metrics.dense_samples import DensePredictions
from sslbench.metrics.depth_errors import DepthErrors
from sslbench.metrics.overlap import Overlap
from sslbench.results.record import Record
from sslbench.results.runs import Run
from tests.results.conftest import build

CLASSES = ("floor", "wall & <b>", "lamp", "never")
IGNORE = 99
SIZES = ((64, 48), (900, 600), (64, 64), (250, 64), (48, 64), (64, 64), (64, 64), (320, 240), (64, 64))
"""Widths and heights of the test pictures."""
PICTURES = len(SIZES)

# Rows r + 1 of the test split; the first could not be read when the record was made.
ROWS = np.arange(1, PICTURES)


def register(folder: Path, name: str = "rooms") -> Dataset:
    """The dataset of the pictures, which are written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for row, (wide, high) in enumerate(SIZES):
        paths.append(folder / f"{row}.png")
        across = np.broadcast_to(np.linspace(0, 255, wide), (high, wide))
        Image.fromarray(np.stack([across, across[:, ::-1], 20 * row + 0 * across], axis=-1).astype(np.uint8)).save(
            paths[-1]
        )
    targets = Masks(lambda row: np.zeros(SIZES[row][::-1], np.uint8), name, np.arange(PICTURES))
    dataset = Dataset(name, CLASSES, {"test": Split("test", ImageFiles(name, paths), targets)}, metric=None)
    register_dataset(DatasetSpec(name, lambda settings: dataset, 4, "", "", "", metric=None, targets=Masks))
    return dataset


def wrong(row: int, shape: tuple[int, int]) -> np.ndarray:
    """Pixels where a prediction is off: row / 10 of the picture, from the left; none in row 5."""
    return np.broadcast_to(np.arange(shape[1]) < (0 if row == 5 else row / 10 * shape[1]), shape)


def made(kind: str, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of a picture: the lower half is floor, the upper wall, in it a lamp, and a corner does not count."""
    wide, high = SIZES[row]
    shape = (high, wide)
    down, across = np.indices(shape)
    floor, lamp = down >= high // 2, (abs(down - high / 5) < high / 8) & (abs(across - wide / 2) < wide / 8)
    corner, off = (down < high // 4) & (across >= wide - wide // 4), wrong(row, shape)
    if kind == "masks":
        truth = np.where(floor, 0, np.where(lamp, 2, 1))
        predicted = np.where(off, np.where(truth == 0, 1, 2), truth)
        return np.where(corner, IGNORE, truth).astype(np.uint8), predicted
    if kind == "depth":
        truth = np.where(floor, 8 - 7 * down / high, 8.0).astype(np.float32)
        predicted = np.where(off, truth * 1.5, truth)
        return np.where(corner, 0, truth), predicted
    truth = np.where(floor[..., None], [0.0, 1.0, 0.0], np.where(lamp[..., None], [0.6, 0.0, 0.8], [0.0, 0.0, 1.0]))
    predicted = np.where(off[..., None], [1.0, 0.0, 0.0], truth)
    return np.where(corner[..., None], 0.0, truth), predicted


def write(run: Run, fingerprint: str, kind: str = "masks", backbone: str = "net", dataset: str = "rooms") -> Record:
    """A record of dense prediction in a run."""
    protocol = {"masks": "segmentation", "normals": "normals", "depth": "depth"}[kind]
    scores: DenseScores = {"masks": lambda: Overlap(len(CLASSES), IGNORE), "normals": Angles, "depth": DepthErrors}[
        kind
    ]()
    kept = DensePredictions(kind, CLASSES if kind == "masks" else (), IGNORE if kind == "masks" else None, most=12)
    for row in ROWS.tolist():
        truth, predicted = made(kind, row)
        kept.add(row, truth, predicted, scores.add(truth, predicted))
    scored = scores.scored()
    record = build(backbone, f"{protocol}/{dataset}/frozen", main_score=scores.main, fingerprint=fingerprint)
    record = replace(
        record,
        task={**record.task, "dataset": dataset},
        scores={name: score.to_json() for name, score in scored.scores.items()},
    )
    record = replace(record, samples=run.write_samples(record.case, {**scored.arrays, **kept.to_arrays()}))
    run.write(record)
    return record
