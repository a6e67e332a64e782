"""A folder in PASCAL VOC's layout: lists, pictures, and the objects of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslbench.config import Settings
from sslbench.datasets.content import image_files, read_header
from sslbench.datasets.dataset import Dataset, Split
from sslbench.datasets.families._files import ALL, by_stem, complete, few, read_contents, tell_of_files
from sslbench.datasets.families._folder_files import Unread
from sslbench.datasets.families._folder_names import is_hidden
from sslbench.datasets.families._voc_xml import Annotated, read_annotation
from sslbench.datasets.family import find_root
from sslbench.datasets.targets import Boxes, Objects
from sslbench.errors import DataError
from sslbench.names import printable

LAYOUT = "expected PATH/JPEGImages with image files and PATH/Annotations with an .xml file for each"
LISTS = ("train", "val", "trainval", "test")


def load_voc(name: str, settings: Settings) -> Dataset:
    """Load `voc:PATH`.

    The classes are those that the annotations of the pictures in use name, sorted. Boxes become 0-based coordinates of edges:
    x1 - 1, y1 - 1, x2, y2, since VOC counts pixels from 1 and includes the last. The splits are the lists in
    `ImageSets/Main`; without the folder all pictures are split 60/20/20 (see `complete`). Without train.txt, trainval.txt
    stands for it.

    Raises DataError for a missing folder, lists that overlap or name what is not there, pictures without annotation and, where
    there are no lists, annotations without picture; for annotations that cannot be read, and boxes without an area or outside
    of their picture.
    """
    root = find_root(name, name.partition(":")[2], settings, LAYOUT)
    _check_layout(name, root)
    unread = Unread()
    pictures = by_stem(root / "JPEGImages", unread)
    given, called = _lists(name, root, pictures)
    stems, details = complete(name, given, called)
    annotations = {split: [read_annotation(_annotation(root, stem)) for stem in part] for split, part in stems.items()}
    found = [
        (pictures[stem], annotation)
        for split in stems
        for stem, annotation in zip(stems[split], annotations[split], strict=True)
    ]
    _check_boxes(name, found)
    classes = tuple(sorted({label for _, annotation in found for label in annotation.labels}))
    if not classes:
        raise DataError(f"{name}: no annotation names an object; expected <object> with <name> and <bndbox>")
    files = {split: read_contents([pictures[stem] for stem in part]) for split, part in stems.items()}
    details |= tell_of_files(name, root, files, unread)
    if unlisted := len(pictures) - len(found):
        details["pictures_in_no_list"] = unlisted
    splits = {
        split: Split(
            split,
            image_files("voc", root, files[split], settings.bad_images),
            Boxes([_objects(annotation, classes) for annotation in annotations[split]]),
        )
        for split in stems
    }
    return Dataset(name=name, classes=classes, splits=splits, metric=None, details=details)


def _check_layout(name: str, root: Path) -> None:
    missing = [part for part in ("JPEGImages", "Annotations") if not (root / part).is_dir()]
    if missing:
        inner = sorted(path.parent for depth in ("*", "*/*") for path in root.glob(f"{depth}/JPEGImages"))
        hint = f". If {inner[0]} is meant, name voc:{inner[0]}" if inner else ""
        raise DataError(f"{name}: {root} has no {' and no '.join(missing)}; {LAYOUT}{hint}")


def _lists(name: str, root: Path, pictures: Mapping[str, Path]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Stems of the splits that are given, and what they are called."""
    folder = root / "ImageSets" / "Main"
    if not folder.is_dir():
        _refuse(
            name, "images without an annotation", [stem for stem in pictures if not _annotation(root, stem).is_file()]
        )
        _refuse(name, "annotations without an image", _orphans(root / "Annotations", pictures))
        return {ALL: list(pictures)}, {}
    lists = {split: _read_list(folder / f"{split}.txt") for split in LISTS if (folder / f"{split}.txt").is_file()}
    called = {split: f"{split}.txt" for split in lists}
    both = lists.pop("trainval", None)
    if both is not None and "train" not in lists:
        if "val" in lists:
            raise DataError(
                f"{name}: {folder} has trainval.txt and val.txt but no train.txt; add it, or remove val.txt"
            )
        lists, called = {"train": both, **lists}, {**called, "train": "trainval.txt"}
    if not lists:
        raise DataError(
            f"{name}: {folder} has none of {', '.join(f'{split}.txt' for split in LISTS)}; add them or remove ImageSets"
        )
    listed = Counter(stem for part in lists.values() for stem in part)
    _refuse(name, f"names that {folder} lists twice", [stem for stem, count in listed.items() if count > 1])
    _refuse(name, "listed images that are not in JPEGImages", [stem for stem in listed if stem not in pictures])
    _refuse(
        name, "listed images without an annotation", [stem for stem in listed if not _annotation(root, stem).is_file()]
    )
    return lists, called


def _annotation(root: Path, stem: str) -> Path:
    return root / "Annotations" / f"{stem}.xml"


def _orphans(folder: Path, pictures: Mapping[str, Path]) -> list[str]:
    found = [path.relative_to(folder) for path in folder.rglob("*.xml")]
    stems = [path.with_suffix("").as_posix() for path in found if not any(map(is_hidden, path.parts))]
    return sorted(stem for stem in stems if stem not in pictures)


def _read_list(path: Path) -> list[str]:
    """The names in a list, one a line."""
    try:
        # File names need not be UTF-8, and the list holds their bytes.
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; make it readable or remove it") from error
    return [line.strip() for line in lines if line.strip()]


def _refuse(name: str, what: str, stems: Sequence[str]) -> None:
    if stems:
        raise DataError(
            f"{name}: {len(stems)} {what}: {printable(few(stems))}; complete the folder or correct the lists"
        )


def _check_boxes(name: str, found: Sequence[tuple[Path, Annotated]]) -> None:
    total, bad, other = 0, list[str](), list[str]()
    for picture, annotation in found:
        header = read_header(picture)
        if header and annotation.size and annotation.size != header[0]:
            across, down = header[0]
            w, h = annotation.size
            other.append(f"{annotation.path.name} ({w} x {h}, its image: {across} x {down})")
        # An unreadable picture is told of, or skipped, when it is decoded.
        width, height = header[0] if header else (np.inf, np.inf)
        total += len(annotation.labels)
        for label, (x1, y1, x2, y2) in zip(annotation.labels, annotation.corners, strict=True):
            if not (1 <= x1 <= x2 <= width and 1 <= y1 <= y2 <= height):
                size = f"{width} x {height}" if header else "unknown"
                bad.append(f"{label} {x1:g}, {y1:g}, {x2:g}, {y2:g} in {annotation.path.name} (its image: {size})")
    if other:
        raise DataError(
            f"{name}: {len(other)} annotations are of an image of another size: {printable(few(other))}. Boxes of another "
            "resolution would be wrong without being seen; annotate the images that are there, or correct <size>"
        )
    if bad:
        raise DataError(
            f"{name}: {len(bad)} of {total} boxes are empty or reach out of their image: {printable(few(bad))}. VOC counts "
            "pixels from 1, and xmax and ymax are the last ones inside; correct or remove these objects"
        )


def _objects(annotation: Annotated, classes: Sequence[str]) -> Objects:
    corners: Any = np.array(annotation.corners, dtype=np.float64).reshape(-1, 4)
    return Objects(
        boxes=(corners - [1, 1, 0, 0]).astype(np.float32),
        labels=np.array([classes.index(label) for label in annotation.labels], dtype=np.int64),
        difficult=np.array(annotation.difficult, dtype=bool),
    )
