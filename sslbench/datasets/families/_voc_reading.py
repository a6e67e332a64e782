"""A folder in PASCAL VOC's layout: lists, pictures, and the objects of each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path

from sslbench.config import Settings
from sslbench.datasets.content import image_files
from sslbench.datasets.dataset import Dataset, Split
from sslbench.datasets.families._files import ALL, by_stem, complete, read_contents, tell_of_files
from sslbench.datasets.families._folder_files import Unread
from sslbench.datasets.families._folder_names import is_hidden
from sslbench.datasets.families._voc_boxes import Notes, fit, note_classes, objects_of
from sslbench.datasets.families._voc_lists import Names, read_lists, refuse
from sslbench.datasets.family import find_root
from sslbench.datasets.targets import Boxes
from sslbench.datasets.voc_xml import read_annotation
from sslbench.errors import DataError

LAYOUT = "expected PATH/JPEGImages with image files and PATH/Annotations with an .xml file for each"


def load_voc(name: str, settings: Settings) -> Dataset:
    """Load `voc:PATH`.

    The classes are those that the boxes in use have, sorted. Boxes become 0-based coordinates of edges: x1 - 1, y1 - 1, x2, y2,
    since VOC counts pixels from 1 and includes the last; they are clipped to their picture, and left out where no area stays. The
    splits are the lists in `ImageSets/Main`; without lists all pictures are split 60/20/20 (see `complete`). Without train.txt,
    trainval.txt stands for it. What is clipped, left out or otherwise not as expected is counted in the details and told.

    Raises DataError for a missing folder, lists that overlap or name what is not there, pictures without annotation and, where
    there are no lists, annotations without picture; for annotations that cannot be read or are of a picture of another size,
    and where no box has an area.
    """
    root = find_root(name, name.partition(":")[2], settings, LAYOUT)
    _check_layout(name, root)
    unread, notes = Unread(), Notes()
    pictures = by_stem(root / "JPEGImages", unread)
    lists = read_lists(name, root, pictures)
    given, called = (lists.splits, lists.called) if lists else ({ALL: list(pictures)}, {})
    notes.add("names_in_another_case", lists.renamed if lists else [])
    files = _annotations(
        name, root / "Annotations", list(chain.from_iterable(given.values())), notes, listed=lists is not None
    )
    stems, details = complete(name, given, called)
    used = list(chain.from_iterable(stems.values()))
    fitted = iter(fit(name, [(pictures[stem], read_annotation(files[stem])) for stem in used], notes))
    boxed = {split: list(islice(fitted, len(part))) for split, part in stems.items()}
    classes = tuple(sorted({label for part in boxed.values() for of_one in part for label in of_one.labels}))
    if not classes:
        raise DataError(f"{name}: no annotation names an object; expected <object> with <name> and <bndbox>")
    note_classes(boxed, notes)
    details |= notes.tell(name)
    contents = {split: read_contents([pictures[stem] for stem in part]) for split, part in stems.items()}
    details |= tell_of_files(name, root, contents, unread)
    # Not told: a picture of the background alone is as good as any.
    if empty := sum(not of_one.labels for part in boxed.values() for of_one in part):
        details["images_without_objects"] = empty
    if unlisted := len(pictures) - len(used):
        details["pictures_in_no_list"] = unlisted
    numbers = {label: number for number, label in enumerate(classes)}
    splits = {
        split: Split(
            split,
            image_files("voc", root, contents[split], settings.bad_images),
            Boxes([objects_of(of_one, numbers) for of_one in boxed[split]]),
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


def _annotations(name: str, folder: Path, stems: Sequence[str], notes: Notes, *, listed: bool) -> dict[str, Path]:
    """The annotation file of each picture; where no list leaves any out, every file must have its picture."""
    there = _files_by_stem(folder)
    names = Names(there)
    files: dict[str, Path] = {}
    absent, unclear, renamed = list[str](), list[str](), list[str]()
    for stem in stems:
        near = [stem] if stem in there else names.in_another_case(stem)
        if len(near) == 1:
            files[stem] = there[near[0]]
            renamed += [f"{near[0]}.xml for the image {stem}"] if near[0] != stem else []
        elif near:
            unclear.append(f"{stem} with {' and '.join(near)}")
        # Not listed with the others where the folder is a link.
        elif (path := folder / f"{stem}.xml").is_file():
            files[stem] = path
        else:
            absent.append(stem)
    refuse(name, f"{'listed ' if listed else ''}images without an annotation", absent)
    refuse(name, "images with annotations that differ in case", unclear)
    if not listed:
        used = set(files.values())
        refuse(name, "annotations without an image", [stem for stem, path in there.items() if path not in used])
    notes.add("names_in_another_case", renamed)
    return files


def _files_by_stem(folder: Path) -> dict[str, Path]:
    found = {path: path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() == ".xml"}
    return {
        inner.with_suffix("").as_posix(): path
        for path, inner in sorted(found.items())
        if not any(map(is_hidden, inner.parts))
    }
