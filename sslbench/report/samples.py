"""What the arrays beside the records show: confusions, mistakes, neighbours, boxes, maps, reconstructions, attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslbench.datasets import Dataset
from sslbench.errors import SslbenchError
from sslbench.protocols.base import label_values
from sslbench.report.classified import confusion_part, mistakes_part
from sslbench.report.explained import explained_part
from sslbench.report.mistakes import decisions_of, worst_mistakes
from sslbench.report.neighbours import neighbours_of, neighbours_part
from sslbench.report.thumbnails import NO_ROOM, Thumbnails
from sslbench.results.gallery import THRESHOLD
from sslbench.results.gallery_boxes import show_boxes
from sslbench.results.gallery_frame import Shown
from sslbench.results.gallery_html import legend_item
from sslbench.results.gallery_maps import show_maps
from sslbench.results.gallery_pictures import pictures_of, tested_dataset
from sslbench.results.record import Record
from sslbench.results.samples import read_arrays
from sslbench.results.shown import can_be_shown, read_shown

if TYPE_CHECKING:
    from PIL.Image import Image

READ = 1_000_000_000
"""Bytes of samples that a page reads for what classifiers confuse; a study of large data sets has more."""

MATRICES = 3_000_000
"""Characters of all confusion matrices of a page; further cases get the most confused pairs alone."""

MISTAKES, BOXES, MAPS = 8, 2, 1
"""Pictures of a case: the worst mistakes; of the worst and of the best detections each; of the worst, the middle and the best
maps each."""


@dataclass(frozen=True)
class Look:
    """Whether data sets are loaded for the names of their classes, and for pictures. data_dir: as of `Settings`."""

    pictures: bool = True
    data_dir: Path | None = None


@dataclass
class Samples:
    """The parts of single cases' sections that come from samples. folder: where the records' files lie.

    look: None loads no data set, so that classes have numbers instead of names and nothing is shown.
    """

    folder: Path
    look: Look | None = None
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    _datasets: dict[str, Dataset | str] = field(default_factory=dict)
    _read: int = 0
    _matrices: int = 0

    def part(self, record: Record) -> str:
        """HTML, nothing for a record without samples; what cannot be read or shown is told in its place."""
        if record.samples is None:
            return ""
        try:
            if can_be_shown(record):
                return self._gallery(record)
            return self._others(record)
        except (SslbenchError, ValueError, OSError) as error:
            # The rest of the report does not need these files.
            return f"<p>{escape(str(error))}</p>"

    def _others(self, record: Record) -> str:
        size = self._size(record)
        if self._read + size > READ:
            return f"<p>Its samples were not read: those before have {READ / 1e9:g} GB, the most that a page reads.</p>"
        self._read += size
        arrays, _ = read_arrays(record, self.folder)
        if "pictures" in arrays:
            return explained_part(arrays, self.thumbnails) if self._with_pictures else ""
        found = decisions_of(arrays)
        return "" if found is None else self._classified(record, arrays, *found)

    def _size(self, record: Record) -> int:
        path = (record.samples or {}).get("path")
        try:
            return (self.folder / str(path)).stat().st_size
        except OSError:
            # Told by who reads it.
            return 0

    def _classified(
        self, record: Record, arrays: Mapping[str, NDArray[Any]], decision: NDArray[Any], targets: NDArray[np.int64]
    ) -> str:
        dataset = self._dataset(record) if self.look is not None else ""
        classes = list(dataset.classes) if isinstance(dataset, Dataset) else []
        if len(classes) != decision.shape[1]:
            classes = [str(number) for number in range(decision.shape[1])]
        matrix = confusion_part(decision, targets, classes, whole=self._matrices < MATRICES)
        self._matrices += len(matrix)
        mistakes = worst_mistakes(decision, targets, MISTAKES)
        right = "" if mistakes else "<p>No test picture is taken for another class.</p>"
        if not self._with_pictures or not (mistakes or "neighbours" in arrays):
            return matrix + right
        if isinstance(dataset, str):
            return f"{matrix}{right}<p>The pictures are not here: {escape(dataset)}</p>"
        if len(targets) != len(dataset.splits["test"].images):
            told = "<p>No pictures: some of the test split could not be read, and the samples do not tell which.</p>"
            return matrix + right + told
        if mistakes:
            load = pictures_of(record, dataset, np.array([mistake.row for mistake in mistakes]))
            right = mistakes_part(mistakes, classes, load, self.thumbnails)
        return matrix + right + self._neighbours(record, dataset, arrays, decision, targets, classes)

    def _neighbours(
        self, record: Record, dataset: Dataset, arrays: Mapping[str, NDArray[Any]], decision: NDArray[Any],
        targets: NDArray[np.int64], classes: Sequence[str],
    ) -> str:  # fmt: skip
        if "neighbours" not in arrays:
            return ""
        splits = {name: dataset.splits[name] for name in ("train", "val", "test")}
        found = neighbours_of(arrays, label_values(splits["train"].targets), label_values(splits["val"].targets))
        load = {
            name: pictures_of(record, dataset, np.arange(len(split.images)), name) for name, split in splits.items()
        }
        return "" if found is None else neighbours_part(decision, targets, found, classes, load, self.thumbnails)

    def _gallery(self, record: Record) -> str:
        if not self._with_pictures:
            return ""
        dataset = self._dataset(record)
        if isinstance(dataset, str):
            return f"<p>The pictures are not here: {escape(dataset)}</p>"
        samples = read_shown(record, self.folder)
        load = pictures_of(record, dataset, samples.rows)
        shown = _shown(record, samples, load)
        parts = [("Worst", shown.worst), ("In the middle", shown.middle), ("Best", shown.best)]
        drawn = [(heading, [self.thumbnails.panel(panel) for panel in panels]) for heading, panels in parts if panels]
        figures = "\n".join(
            f'<h4>{heading}</h4>\n<div class="pictures">{"".join(panels)}</div>'
            for heading, panels in drawn
            if any(panels)
        )
        full = f"<p>{NO_ROOM}</p>" if any(not panel for _, panels in drawn for panel in panels) else ""
        legend = "".join(map(legend_item, shown.legend))
        return f'<h3>Pictures</h3>\n<ul class="legend">{legend}</ul>\n{figures}{full}'

    @property
    def _with_pictures(self) -> bool:
        return self.look is not None and self.look.pictures

    def _dataset(self, record: Record) -> Dataset | str:
        """The data set that a record was scored on, loaded once, or why it is not here."""
        assert self.look is not None
        task = record.task
        key = repr((task["dataset"], task["fingerprint"], task.get("compat"), task.get("details", {}).get("complete")))
        if key not in self._datasets:
            try:
                self._datasets[key] = tested_dataset(record, self.look.data_dir)
            except (SslbenchError, OSError) as error:
                self._datasets[key] = str(error)
        return self._datasets[key]


def _shown(record: Record, samples: Any, load: Callable[[int], Image]) -> Shown:
    from sslbench.metrics.dense_kept import DenseSamples

    if isinstance(samples, DenseSamples):
        return show_maps(samples, load, MAPS, record.main_score, record.main.unit)
    return show_boxes(samples, load, BOXES, THRESHOLD)


def sample_parts(records: Sequence[Record], folder: Path, look: Look | None) -> Mapping[str, str]:
    """By case, what its samples show."""
    samples = Samples(folder, look)
    return {record.case: samples.part(record) for record in records}
