"""A run with one record of detection on five pictures, which are a dataset of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from sslbench.datasets import Boxes, Dataset, DatasetSpec, ImageFiles, Objects, Split, register_dataset
from sslbench.metrics.detection import detection_scores
from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.results.record import Record
from sslbench.results.runs import Run
from tests.metrics.detection_data import detections, objects
from tests.results.conftest import build

CLASSES = ("cat", "dog & <b>", "none")
SIZES = ((64, 48), (900, 600), (64, 64), (250, 64), (64, 64), (64, 64))
"""Widths and heights of the test pictures."""

# Of the test row r + 1 there is the picture r; the first could not be read when the record was made.
ROWS = np.arange(1, 6)
FOUND = detections(
    [
        (0, 0, 0.9, 90, 90, 410, 310),  # right
        (0, 1, 0.8, 500, 90, 600, 200),  # wrong: a cat
        (0, 0, 0.2, 500, 90, 600, 200),  # right, below the threshold
        (1, 0, 0.7, 0, 0, 30, 30),  # right
        (1, 0, 0.6, 1, 0, 30, 30),  # wrong: a second one
        (1, 1, 0.5, 40, 40, 60, 60),  # ignored
        (2, 1, 0.95, 200, 10, 230, 40),  # wrong: nothing there
        (3, 0, 0.9, 10, 10, 20, 20),  # right
        (4, 0, 0.9, 10, 10, 20, 20),  # wrong: nothing there
    ]
)
TRUTH = objects(
    5,
    [
        (0, 0, 0, 100, 100, 400, 300),
        (0, 0, 0, 500, 90, 600, 200),
        (1, 0, 0, 0, 0, 30, 30),
        (1, 1, 1, 40, 40, 60, 60),
        (2, 1, 0, 20, 20, 60, 60),
        (3, 0, 0, 10, 10, 20, 20),
    ],
)
SAMPLES = DetectionSamples(FOUND, TRUTH, ROWS, np.array([(SIZES[r][1], SIZES[r][0]) for r in ROWS]), CLASSES)
PRECISIONS = [100.0, 100.0, 0.0, 100.0, np.nan]
"""Of each picture alone. On the first, recall .5 is reached without a wrong cat, and 1 too: the wrong one is a dog."""


def register(folder: Path, name: str = "five", shade: int = 0) -> Dataset:
    """The dataset of the pictures, which are written into `folder`; another shade is another content."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for row, size in enumerate(SIZES):
        paths.append(folder / f"{row}.png")
        Image.new("RGB", size, (40 * row, 90, shade)).save(paths[-1])
    nothing = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    images = ImageFiles(f"five:{shade}", paths)
    dataset = Dataset(name, CLASSES, {"test": Split("test", images, Boxes([nothing] * len(SIZES)))}, metric=None)
    register_dataset(DatasetSpec(name, lambda settings: dataset, 3, "", "", "", metric=None, targets=Boxes))
    return dataset


def write(run: Run, fingerprint: str, backbone: str = "net", task: str = "detection/five/frozen") -> Record:
    """A record with detections in a run."""
    scored = detection_scores(FOUND, TRUTH, len(CLASSES), resamples=20)
    record = build(backbone, task, main_score="AP", fingerprint=fingerprint)
    record = replace(
        record,
        task={**record.task, "dataset": task.split("/")[1]},
        scores={name: score.to_json() for name, score in scored.scores.items()},
    )
    record = replace(record, samples=run.write_samples(record.case, SAMPLES.to_arrays()))
    run.write(record)
    return record
