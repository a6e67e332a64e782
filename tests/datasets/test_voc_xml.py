"""One annotation of PASCAL VOC, element by element."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sslbench.datasets.voc_xml import Annotated, edges, read_annotation

BOX = "<bndbox><ymax>8</ymax><xmax>6.5</xmax><ymin> 3 </ymin><xmin>2</xmin></bndbox>"


def read(folder: Path, inner: str) -> Annotated:
    (folder / "1.xml").write_text(f"<annotation>{inner}</annotation>")
    return read_annotation(folder / "1.xml")


def test_the_first_of_each_element_counts_and_none_of_a_part(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox><difficult>1</difficult></part>"
    found = read(tmp_path, f"<object>{part}<name>dog</name>{BOX}{BOX.replace('8', '9')}<name>cat</name></object>")
    assert found == Annotated(tmp_path / "1.xml", ("dog",), ((2, 3, 6.5, 8),), (False,))


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ("<size><width>9</width><height>7</height></size>", (9, 7)),
        ("<size><height>7</height><width>9</width></size><size><width>1</width><height>1</height></size>", (9, 7)),
        ("<size><width>9</width></size>", None),
        ("<size><width>0</width><height>0</height></size>", None),
        ("<size><width>9.5</width><height>7</height></size>", None),
        ("<size/>", None),
        ("<width>9</width><height>7</height>", None),
        ("", None),
    ],
)
def test_the_size(size: str, wanted: tuple[int, int] | None, tmp_path: Path) -> None:
    assert read(tmp_path, size).size == wanted


def test_edges_of_all_follow_each_other(tmp_path: Path) -> None:
    one = read(tmp_path, f"<object><name>dog</name>{BOX}</object>" * 2)
    none = read(tmp_path, "")
    assert edges([none, one, none, one]).tolist() == [[1, 2, 6.5, 8]] * 4
    assert edges([none]).shape == edges([]).shape == (0, 4)
    assert edges([]).dtype == np.float64
