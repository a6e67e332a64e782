"""Readers of label files, and the errors of bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import ImageFolder

from sslbench.datasets.formats import columns, csv_rows, image_folder, json_object, mat_arrays, text_lines
from sslbench.datasets.published.layout import Disk
from sslbench.errors import DataError, IncompleteDataError


def test_lines_whatever_their_ends(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("/a/abbey\r\n\r\n  b é \nlast".encode())
    assert text_lines(path) == ["/a/abbey", "b é", "last"]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"cannot read .*list\.txt.*fetch or extract it again"):
        text_lines(path)
    with pytest.raises(DataError, match="cannot read"):
        text_lines(tmp_path / "absent.txt")


def test_columns_are_cut_at_white_space_and_the_last_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("000012  1\n000017 -1\n\n0034958 Cessna 172 \n")
    assert columns(path, "ID NAME") == [["000012", "1"], ["000017", "-1"], ["0034958", "Cessna 172"]]
    with pytest.raises(DataError, match=r"list\.txt: row 1: expected 'A B C', got '000012 1'"):
        columns(path, "A B C")


def test_csv_rows_below_the_header(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('image,label\r\na.png,"x,y"\r\n\r\nb.png,z,\r\n')
    assert csv_rows(path, 2) == [["a.png", "x,y"], ["b.png", "z", ""]]
    with pytest.raises(DataError, match=r"table\.csv: row 2: expected at least 3 columns"):
        csv_rows(path, 3)
    with pytest.raises(DataError, match="cannot read"):
        csv_rows(tmp_path / "absent.csv", 1)


def test_json_objects(tmp_path: Path) -> None:
    path = tmp_path / "lists.json"
    path.write_text('{"a": ["a/1"]}')
    assert json_object(path) == {"a": ["a/1"]}
    for text, message in (("[1]", "expected a JSON object, got a list"), ("{", "cannot read")):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            json_object(path)


def test_mat_arrays(tmp_path: Path) -> None:
    path = tmp_path / "labels.mat"
    savemat(path, {"labels": np.arange(3, dtype=np.uint8), "other": 1})
    (labels,) = mat_arrays(path, "labels")
    assert labels.tolist() == [[0, 1, 2]]
    with pytest.raises(DataError, match=r"labels\.mat: expected trnid, found labels, other"):
        mat_arrays(path, "labels", "trnid")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="cannot read"):
        mat_arrays(path, "labels")


def test_image_folders_are_in_torchvisions_order(tmp_path: Path) -> None:
    names = ["b/2.jpg", "b/10.JPG", "B c/x.png", "a/z.jpeg", "a/é.webp", "a/Z.tiff", "a/q.gif", "a/notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (2, 2)).save(tmp_path / name) if "txt" not in name else (tmp_path / name).write_text("")
    (tmp_path / "stray.jpg").write_bytes(b"x")
    classes, files, targets = image_folder(tmp_path, Disk())
    reference = ImageFolder(tmp_path)
    assert list(classes) == reference.classes
    assert [
        (str(tmp_path / file), int(target)) for file, target in zip(files, targets, strict=True)
    ] == reference.samples
    (tmp_path / ".cache").mkdir()
    (tmp_path / "a" / "._z.jpg").write_bytes(b"x")
    assert image_folder(tmp_path, Disk())[1] == files
    (tmp_path / "empty").mkdir()
    with pytest.raises(IncompleteDataError, match="empty holds no image"):
        image_folder(tmp_path, Disk())
