"""A gallery of what a network made of test pictures: those on which it did worst and best, with truth and prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from sslbench.config import check_number
from sslbench.errors import RecordError, SettingsError
from sslbench.files import write_atomic
from sslbench.metrics.dense_kept import DenseSamples
from sslbench.metrics.detection_samples import DetectionSamples
from sslbench.results.gallery_boxes import show_boxes
from sslbench.results.gallery_frame import Load, Panel, Shown
from sslbench.results.gallery_maps import show_maps
from sslbench.results.gallery_pictures import tested_pictures
from sslbench.results.marks import number_text, score_text
from sslbench.results.record import Record

COUNT, THRESHOLD, MAP_COUNT = 12, 0.3, 4
"""What is shown by default: of the worst and of the best pictures each, and detections from this score on; of maps, which are
three pictures each, of the worst, the median and the best."""

SUFFIXES = (".html", ".png")


@dataclass(frozen=True)
class Gallery:
    """What is drawn. title, facts: plain ASCII text but for names."""

    title: str
    facts: str
    shown: Shown

    @property
    def worst(self) -> tuple[Panel, ...]:
        """The worst first."""
        return self.shown.worst

    @property
    def middle(self) -> tuple[Panel, ...]:
        """Around the median; none of detections."""
        return self.shown.middle

    @property
    def best(self) -> tuple[Panel, ...]:
        """The best first."""
        return self.shown.best

    @property
    def parts(self) -> tuple[tuple[str, tuple[Panel, ...]], ...]:
        """Headings with their panels, those that have any."""
        figure, ends = self.shown.figure, ("lowest", "highest") if self.shown.lowest else ("highest", "lowest")
        named = (
            (f"Worst, the {ends[0]} {figure} first", self.worst),
            (f"Around the median {figure}", self.middle),
            (f"Best, the {ends[1]} {figure} first", self.best),
        )
        return tuple((heading, panels) for heading, panels in named if panels)

    @property
    def told(self) -> str:
        """How many pictures of each part, for a terminal."""
        middle = f", {len(self.middle)} around the median" if self.middle else ""
        return f"{len(self.worst)} of the worst{middle} and {len(self.best)} of the best test pictures"


def check_options(path: Path, count: int, threshold: float) -> None:
    """Raise SettingsError for a file that is neither HTML nor PNG, a count below 1 or a threshold that is no number."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"expected a file that ends in {' or '.join(SUFFIXES)}, got {str(path)!r}")
    check_number("count", count, 1, whole=True)
    if not math.isfinite(threshold):
        raise SettingsError(f"threshold: expected a finite score, got {threshold}")


def write_gallery(
    record: Record,
    samples: DetectionSamples | DenseSamples,
    path: Path,
    *,
    count: int | None = None,
    threshold: float | None = None,
    data_dir: Path | None = None,
) -> Gallery:
    """Write a gallery as HTML or PNG, by the suffix of `path`.

    record, samples: see `sslbench.results.shown`. count: of the worst pictures, of the best, and of maps of those around the
    median: by average precision of each alone at overlap .50, or by the record's main score of each alone. threshold: detections
    of lower scores are not shown; maps have none. data_dir: as of `Settings`.

    Raises SettingsError as `check_options`, or for a threshold of maps; UnknownNameError or DataError for a dataset that cannot
    be loaded; RecordError where it is not the one that was scored, where no picture can be chosen, or where the file cannot be
    written.
    """
    maps = isinstance(samples, DenseSamples)
    if maps and threshold is not None:
        raise SettingsError(
            f"threshold: expected none, since {record.case} has maps and no detections, got {threshold}"
        )
    count = count if count is not None else MAP_COUNT if maps else COUNT
    threshold = THRESHOLD if threshold is None else threshold
    check_options(path, count, threshold)
    load = tested_pictures(record, samples.rows, data_dir)
    try:
        shown = _shown(record, samples, load, count, threshold)
    except RecordError as error:
        raise RecordError(f"{record.case}: {error}") from error
    gallery = Gallery(f"{record.backbone['name']}, {record.task['id']}", _facts(record, every=maps), shown)
    content = _content(gallery, path)
    try:
        write_atomic(path, content)
    except OSError as error:
        raise RecordError(f"the gallery {path} cannot be written: {error}; choose another file") from error
    return gallery


def _shown(record: Record, samples: DetectionSamples | DenseSamples, load: Load, count: int, threshold: float) -> Shown:
    if isinstance(samples, DenseSamples):
        return show_maps(samples, load, count, record.main_score, record.main.unit)
    return show_boxes(samples, load, count, threshold)


def _content(gallery: Gallery, path: Path) -> bytes:
    if path.suffix.lower() == ".png":
        from sslbench.results.gallery_png import gallery_png

        return gallery_png(gallery)
    from sslbench.results.gallery_html import gallery_html

    return gallery_html(gallery).encode()


def _facts(record: Record, *, every: bool) -> str:
    """The scores of the whole test split; of detections two more, or every one."""
    parts = [f"{record.main_score} {score_text(record.main, between=' +- ')}"]
    for name in record.scores if every else ("AP50", "AP75"):
        score = record.scores.get(name, {})
        if name != record.main_score and isinstance(score.get("value"), int | float):
            parts.append(f"{name} {number_text(score['value'], score['unit'])}")
    return ", ".join(parts)
