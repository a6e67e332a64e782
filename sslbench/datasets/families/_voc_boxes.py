"""Boxes fitted to their pictures, and what about them has to be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sslbench.datasets.content import read_header
from sslbench.datasets.families._files import few
from sslbench.datasets.targets import Objects
from sslbench.datasets.voc_xml import Annotated, edges
from sslbench.errors import DataError, tell
from sslbench.names import printable

_HOW = "VOC counts pixels from 1, and xmax and ymax are the last ones inside"
_WORDS = {
    "boxes_clipped": f"boxes reach out of their image and are clipped to it ({_HOW})",
    "boxes_left_out": "boxes have no area in their image and are left out",
    "annotations_without_size": "annotations give no <size>, so that boxes of another resolution would not be seen",
    "names_in_another_case": "names differ in case from their files",
    "classes_in_test_alone": "classes of test are in neither train nor val, so that their AP can only be 0",
    "classes_not_in_test": "classes have no object in test, difficult ones aside, so that they have no AP",
}


@dataclass
class Notes:
    """What was not expected, counted under the keys that the record has, with some examples of each."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, examples: Iterable[str]) -> None:
        """Count some more."""
        self.found.setdefault(what, []).extend(examples)

    def tell(self, name: str) -> dict[str, int]:
        """The counts for the record, and all of it in one DataWarning."""
        counts = {what: len(self.found[what]) for what in _WORDS if self.found.get(what)}
        told = [f"{count} {_WORDS[what]}: {few(self.found[what])}" for what, count in counts.items()]
        if told:
            tell(printable(f"{name}: {'; '.join(told)}"))
        return counts


@dataclass(frozen=True)
class Boxed:
    """Objects of one picture whose boxes lie in it. labels: their classes' names. boxes: float32 (M, 4), as in `Objects`."""

    labels: tuple[str, ...]
    boxes: npt.NDArray[np.float32]
    difficult: tuple[bool, ...]


def fit(name: str, found: Sequence[tuple[Path, Annotated]], notes: Notes) -> list[Boxed]:
    """The objects of each picture, boxes that reach out of it clipped, boxes without an area left out.

    Raises DataError for annotations of a picture of another size, and where no box is left, or all look like fractions.
    """
    sizes = _sizes(name, found, notes)
    total = sum(len(annotation.labels) for _, annotation in found)
    corners = [corner for _, annotation in found for box in annotation.corners for corner in box]
    if corners and max(corners) <= 1 and any(corner % 1 for corner in corners):
        raise DataError(
            f"{name}: no coordinate of its {total} boxes is above 1, so that they look like fractions of the image; expected "
            f"pixels ({_HOW})"
        )
    fitted = [_fit(annotation, size, notes) for (_, annotation), size in zip(found, sizes, strict=True)]
    if total and not any(boxed.labels for boxed in fitted):
        raise DataError(
            f"{name}: none of its {total} boxes has an area in its image: {printable(few(notes.found['boxes_left_out']))}. "
            f"{_HOW}; correct them"
        )
    return fitted


def _sizes(name: str, found: Sequence[tuple[Path, Annotated]], notes: Notes) -> list[tuple[float, float]]:
    """Width and height of each picture: the file's, or what its annotation says where it cannot be read, or no bound."""
    sizes: list[tuple[float, float]] = []
    other, unknown = list[str](), list[str]()
    for picture, annotation in found:
        header = read_header(picture)
        if annotation.size is None:
            unknown.append(annotation.path.name)
        elif header and annotation.size != header[0]:
            (w, h), (across, down) = annotation.size, header[0]
            other.append(f"{annotation.path.name} ({w} x {h}, its image: {across} x {down})")
        # An unreadable picture is told of, or skipped, when it is decoded.
        sizes.append(header[0] if header else annotation.size or (np.inf, np.inf))
    if other:
        raise DataError(
            f"{name}: {len(other)} annotations are of an image of another size: {printable(few(other))}. Boxes of another "
            "resolution would be wrong without being seen; annotate the images that are there, or correct <size>"
        )
    notes.add("annotations_without_size", unknown)
    return sizes


def _fit(annotation: Annotated, size: tuple[float, float], notes: Notes) -> Boxed:
    written = edges([annotation])
    # In the precision that they are kept in, in which a very thin box may lose its area.
    boxes = np.clip(written, 0, [*size, *size]).astype(np.float32)
    kept = np.all(boxes[:, 2:] > boxes[:, :2], axis=1).tolist()
    outside = np.any(boxes != written.astype(np.float32), axis=1).tolist()
    for row, (keep, out) in enumerate(zip(kept, outside, strict=True)):
        if out or not keep:
            notes.add("boxes_clipped" if keep else "boxes_left_out", [_words(annotation, row, size)])
    return Boxed(
        tuple(label for label, keep in zip(annotation.labels, kept, strict=True) if keep),
        boxes[kept],
        tuple(mark for mark, keep in zip(annotation.difficult, kept, strict=True) if keep),
    )


def _words(annotation: Annotated, row: int, size: tuple[float, float]) -> str:
    where = f"its image: {size[0]} x {size[1]}" if np.isfinite(size[0]) else "its image cannot be read"
    corners = ", ".join(f"{corner:g}" for corner in annotation.corners[row])
    return f"{annotation.labels[row]} {corners} in {annotation.path.name} ({where})"


def note_classes(fitted: Mapping[str, Sequence[Boxed]], notes: Notes) -> None:
    """Note the classes that are not on both sides: those that cannot be learned, and those that are not tested."""
    learned = {label for split in ("train", "val") for boxed in fitted[split] for label in boxed.labels}
    there = {label for boxed in fitted["test"] for label in boxed.labels}
    tested = {
        label
        for boxed in fitted["test"]
        for label, difficult in zip(boxed.labels, boxed.difficult, strict=True)
        if not difficult
    }
    notes.add("classes_in_test_alone", sorted(tested - learned))
    notes.add("classes_not_in_test", sorted((learned | there) - tested))


def objects_of(boxed: Boxed, numbers: Mapping[str, int]) -> Objects:
    """Targets of a picture. numbers: of the classes."""
    return Objects(
        boxes=boxed.boxes,
        labels=np.array([numbers[label] for label in boxed.labels], dtype=np.int64),
        difficult=np.array(boxed.difficult, dtype=bool),
    )
