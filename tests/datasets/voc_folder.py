"""Small folders in PASCAL VOC's layout, as `voc:PATH` reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from sslbench.config import Settings
from sslbench.datasets import Dataset, load_dataset
from sslbench.names import printable

WIDTH, HEIGHT = 20, 12
Item = tuple[str, Sequence[float | str], str]
# One object that fills the picture, one of a single pixel, a difficult one, and a picture without any. Split as in GIVEN, nothing
# of it is worth a warning.
CONTENTS: dict[str, list[Item]] = {
    "000001": [("dog", (1, 1, 20, 12), "0")],
    "000002": [("person", (3, 4, 3, 4), "1"), ("cat", (5, 2, 19, 11), "0")],
    "000003": [],
    "000004": [("cat", (2.5, 3.25, 10.5, 9), "")],
    "000005": [("dog", (6, 6, 12, 12), "1")],
    "000006": [("person", (1, 1, 2, 2), "0"), ("dog", (1, 1, 2, 2), "0"), ("cat", (4, 4, 9, 9), "0")],
}


def xml(stem: str, items: Sequence[Item]) -> str:
    objects = "".join(
        f"""
    <object>
        <name>{label}</name>
        <pose>Left</pose>
        <truncated>1</truncated>
        {f"<difficult>{difficult}</difficult>" if difficult else ""}
        <bndbox>
            <xmin>{x1}</xmin>
            <ymin>{y1}</ymin>
            <xmax>{x2}</xmax>
            <ymax>{y2}</ymax>
        </bndbox>
        <part>
            <name>head</name>
            <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>
        </part>
    </object>"""
        for label, (x1, y1, x2, y2), difficult in items
    )
    return f"""<annotation>
    <folder>VOC2007</folder>
    <filename>{stem}.jpg</filename>
    <size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>
    <segmented>0</segmented>{objects}
</annotation>
"""


def write(
    root: Path,
    contents: Mapping[str, Sequence[Item]] = CONTENTS,
    lists: Mapping[str, Sequence[str]] | None = None,
    suffix: str = "jpg",
) -> Path:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main")[: 2 if lists is None else 3]:
        (root / folder).mkdir(parents=True)
    for number, (stem, items) in enumerate(contents.items()):
        Image.new("RGB", (WIDTH, HEIGHT), (40 * number, 9, 255 - 40 * number)).save(
            root / f"JPEGImages/{stem}.{suffix}"
        )
        (root / f"Annotations/{stem}.xml").write_text(xml(printable(stem), items))
    for split, stems in (lists or {}).items():
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{stem} \n" for stem in stems))
    return root


GIVEN = {"train": ["000002", "000001"], "val": ["000003", "000004"], "test": ["000005", "000006"]}


def load(root: Path, **settings: str) -> Dataset:
    return load_dataset(f"voc:{root}", Settings(**settings))


def stems(dataset: Dataset) -> dict[str, list[str]]:
    """Names of the pictures of each split, in order."""
    return {name: [Path(path).stem for path in split.images.paths] for name, split in dataset.splits.items()}
