"""A gallery of detections: the pictures on which a detector did worst and best, with what it found and what is there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslbench.config import Settings, check_number, default_data_dir
from sslbench.datasets import Images, load_dataset
from sslbench.errors import RecordError, SettingsError, UnknownNameError
from sslbench.files import write_atomic
from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.results.gallery_choice import Choice, choose
from sslbench.results.gallery_panel import Panel, make_panel
from sslbench.results.marks import score_text
from sslbench.results.record import Record

if TYPE_CHECKING:
    from PIL.Image import Image

COUNT, THRESHOLD = 12, 0.3
"""What is shown by default: of the worst and of the best pictures each, and detections from this score on."""

SUFFIXES = (".html", ".png")


@dataclass(frozen=True)
class Gallery:
    """What is drawn. title, facts, chosen: plain ASCII text but for names, and how the pictures were chosen, in sentences."""

    title: str
    facts: str
    chosen: tuple[str, ...]
    worst: tuple[Panel, ...]
    best: tuple[Panel, ...]

    @property
    def parts(self) -> tuple[tuple[str, tuple[Panel, ...]], ...]:
        """Headings with their panels, those that have any."""
        named = (("Worst, the lowest AP50 first", self.worst), ("Best, the highest AP50 first", self.best))
        return tuple((heading, panels) for heading, panels in named if panels)


def check_options(path: Path, count: int, threshold: float) -> None:
    """Raise SettingsError for a file that is neither HTML nor PNG, a count below 1 or a threshold that is no number."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"expected a file that ends in {' or '.join(SUFFIXES)}, got {str(path)!r}")
    check_number("count", count, 1, whole=True)
    if not math.isfinite(threshold):
        raise SettingsError(f"threshold: expected a finite score, got {threshold}")


def write_gallery(
    record: Record,
    samples: DetectionSamples,
    path: Path,
    *,
    count: int = COUNT,
    threshold: float = THRESHOLD,
    data_dir: Path | None = None,
) -> Gallery:
    """Write a gallery as HTML or PNG, by the suffix of `path`.

    record, samples: see `sslbench.results.detections`. count: of the worst pictures, and of the best, by average precision of
    each alone at overlap .50. threshold: detections of lower scores are not shown. data_dir: as of `Settings`.

    Raises SettingsError as `check_options`; UnknownNameError or DataError for a dataset that cannot be loaded; RecordError where
    it is not the one that was scored, where no picture can be chosen, or where the file cannot be written.
    """
    check_options(path, count, threshold)
    choice = _chosen(record, samples, count)
    images = _pictures(record, samples, data_dir)
    worst, best = (
        tuple(_panels(record, samples, images, places, choice.precisions, threshold))
        for places in (choice.worst, choice.best)
    )
    told = _told(samples, choice, threshold)
    gallery = Gallery(f"{record.backbone['name']}, {record.task['id']}", _facts(record), told, worst, best)
    content = _content(gallery, path)
    try:
        write_atomic(path, content)
    except OSError as error:
        raise RecordError(f"the gallery {path} cannot be written: {error}; choose another file") from error
    return gallery


def _content(gallery: Gallery, path: Path) -> bytes:
    if path.suffix.lower() == ".png":
        from sslbench.results.gallery_png import gallery_png

        return gallery_png(gallery)
    from sslbench.results.gallery_html import gallery_html

    return gallery_html(gallery).encode()


def _chosen(record: Record, samples: DetectionSamples, count: int) -> Choice:
    try:
        return choose(samples, count)
    except RecordError as error:
        raise RecordError(f"{record.case}: {error}") from error


def _pictures(record: Record, samples: DetectionSamples, data_dir: Path | None) -> Images:
    """The test pictures of the record's dataset. Raises RecordError where they are not those that were scored."""
    task: dict[str, Any] = record.task
    # What a loose run took is refused by a strict check, and the fingerprint tells whether it is the same.
    check = "strict" if task.get("details", {}).get("complete", True) else "loose"
    settings = Settings(data_dir=data_dir or default_data_dir(), check_data=check, compat=task.get("compat", {}))
    try:
        dataset = load_dataset(task["dataset"], settings)
    except UnknownNameError as error:
        raise RecordError(
            f"{record.case}: the pictures of {task['dataset']!r} cannot be shown: {error}. What a conftest.py registers is known "
            "to pytest alone; register it and call sslbench.results.gallery.write_gallery"
        ) from error
    if dataset.fingerprint != task["fingerprint"]:
        raise RecordError(
            f"{record.case} was scored on {task['dataset']} with fingerprint {task['fingerprint']}, but the data here have "
            f"{dataset.fingerprint}; name the directory of those data (--data), or run the case again on these"
        )
    images = dataset.splits["test"].images
    if not 0 <= samples.rows.min() <= samples.rows.max() < len(images):
        raise RecordError(
            f"{record.case}: its samples tell of rows {samples.rows.min()} to {samples.rows.max()}, but the test split has "
            f"{len(images)}; run the case again"
        )
    return images


def _panels(
    record: Record,
    samples: DetectionSamples,
    images: Images,
    places: NDArray[np.int64],
    precisions: NDArray[np.float64],
    threshold: float,
) -> Iterator[Panel]:
    """One picture after the other, since a large one is kept reduced."""
    for place in places.tolist():
        row = int(samples.rows[place])
        picture = _picture(images.load([row])[0], record, row)
        high, wide = samples.sizes[place].tolist()
        if picture.size != (wide, high):
            raise RecordError(
                f"{record.case}: its boxes in test row {row} are of a picture of {wide} x {high} pixels, but it has "
                f"{picture.width} x {picture.height}; run the case again"
            )
        yield make_panel(samples, place, picture, float(precisions[place]), threshold)


def _picture(loaded: Any, record: Record, row: int) -> Image:
    from PIL import Image

    if loaded is None:
        raise RecordError(f"{record.case}: the picture of test row {row} cannot be read any more")
    return Image.fromarray(loaded) if isinstance(loaded, np.ndarray) else loaded


def _facts(record: Record) -> str:
    """The scores of the whole test split."""
    parts = [f"{record.main_score} {score_text(record.main, between=' +- ')}"]
    for name in ("AP50", "AP75"):
        value = record.scores.get(name, {}).get("value")
        if name != record.main_score and isinstance(value, int | float):
            parts.append(f"{name} {value:.1f}")
    return ", ".join(parts)


def _told(samples: DetectionSamples, choice: Choice, threshold: float) -> tuple[str, ...]:
    told = [
        "Chosen by AP50 of each picture alone: the mean, over the classes it has objects of, of average precision at overlap "
        f".50 by VOC's rule. Shown are {len(choice.worst)} of the worst and {len(choice.best)} of the best of "
        f"{choice.judged} test pictures; among equals those with more objects come first, then the order of the test split.",
        f"Detections with a score below {threshold:g} are hidden. AP50 counts them too, and an object that one of them found "
        f"is marked < {threshold:g}.",
    ]
    if left := len(samples.rows) - choice.judged:
        told.insert(1, f"Pictures without an object that counts have no AP50 and are never shown: {left}.")
    return tuple(told)
