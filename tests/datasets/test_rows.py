"""Rows of files: sizes, what is missing, fingerprints; layouts; digests of a split."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from sslbench.datasets.published.facts import histogram, rows_digest, statement
from sslbench.datasets.published.layout import Disk, Found, Layout, bytes_below, layouts
from sslbench.datasets.published.rows import FileRows, file_rows
from sslbench.datasets.targets import Labels
from sslbench.errors import IncompleteDataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, size in (("a/1.jpg", 3), ("a/2.jpg", 5), ("b/1.jpg", 0), ("b/deep/9.jpg", 7)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    return tmp_path


def rows(root: Path, *files: str) -> FileRows:
    return file_rows(root, files, list(range(len(files))), Disk())


def test_sizes_and_what_is_missing(root: Path) -> None:
    (root / "a" / "dangling.jpg").symlink_to(root / "nowhere")
    (root / "a" / "linked.jpg").symlink_to(root / "b/deep/9.jpg")
    listed = rows(root, "a/1.jpg", "b/deep/9.jpg", "a/linked.jpg", "b/1.jpg", "a/9.jpg", "c/1.jpg", "a/dangling.jpg")
    assert listed.sizes.tolist() == [3, 7, 7, 0, 0, 0, 0]
    assert listed.missing == ["b/1.jpg", "a/9.jpg", "c/1.jpg", "a/dangling.jpg"]
    assert listed.targets.values.dtype == np.int64


def test_directories_are_listed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    assert disk.size(f"{root}/a/1.jpg") == 3
    monkeypatch.setattr("os.scandir", None)
    assert disk.size(f"{root}/a/2.jpg") == 5


def test_bytes_below(root: Path) -> None:
    assert bytes_below(root) == 15
    assert bytes_below(root / "a/2.jpg") == 5
    assert bytes_below(root / "absent") == 0


def test_taken_rows_keep_everything(root: Path) -> None:
    listed = file_rows(root, ["a/1.jpg", "a/2.jpg", "b/1.jpg"], [7, 8, 9], Disk(), ids=["x", "y", "z"])
    taken = listed.take(np.array([2, 0]))
    assert (taken.ids, taken.targets.values.tolist(), taken.sizes.tolist()) == (("z", "x"), [9, 7], [0, 3])
    assert taken.paths == (f"{root}/b/1.jpg", f"{root}/a/1.jpg")


def test_the_fingerprint_follows_ids_order_sizes_decoding_and_policy(root: Path, tmp_path: Path) -> None:
    files = ["a/1.jpg", "a/2.jpg"]
    base = rows(root, *files)
    prints = [
        base.images("set", "fail").fingerprint,
        base.images("set", "skip").fingerprint,
        base.images("other", "fail").fingerprint,
        base.take(np.array([1, 0])).images("set", "fail").fingerprint,
        base.take(np.array([0])).images("set", "fail").fingerprint,
        file_rows(root, files, [0, 1], Disk(), ids=["p", "q"]).images("set", "fail").fingerprint,
        base.prepared(lambda image: image, "shrunk").images("set", "fail").fingerprint,
    ]
    (root / "a/2.jpg").write_bytes(b"other")
    assert rows(root, *files).images("set", "fail").fingerprint == prints[0]
    (root / "a/2.jpg").write_bytes(b"longer")
    prints.append(rows(root, *files).images("set", "fail").fingerprint)
    assert len(set(prints)) == len(prints)
    # Other labels for the same pictures share the features.
    relabelled = file_rows(root, files, [5, 5], Disk()).images("set", "fail").fingerprint
    assert relabelled == rows(root, *files).images("set", "fail").fingerprint


def test_digests_of_a_split(root: Path) -> None:
    listed = rows(root, "a/1.jpg", "a/2.jpg")
    assert rows_digest(listed) == hashlib.sha256(b"a/1.jpg 0\na/2.jpg 1\n").hexdigest()
    marks = file_rows(root, ["a/1.jpg", "a/2.jpg"], np.array([[1, 0, -1], [1, 1, 0]], dtype=np.int8), Disk())
    assert rows_digest(marks) == hashlib.sha256(b"a/1.jpg 1,0,-1\na/2.jpg 1,1,0\n").hexdigest()
    assert histogram(marks.targets, 3) == [2, 1, 0]
    assert histogram(Labels(np.array([0, 2, 2])), 4) == [1, 0, 2, 0]
    assert statement(listed, 3) == {
        "images": 2,
        "histogram": hashlib.sha256(b"1,1,0").hexdigest()[:16],
        "rows": rows_digest(listed)[:16],
    }


def test_layouts_name_their_bases_in_order() -> None:
    got = layouts({"torchvision": ("x", "y"), "official": "z"}, images="jpg")
    assert [(layout.name, layout.base) for layout in got] == [
        ("torchvision", "x"),
        ("torchvision", "y"),
        ("official", "z"),
    ]
    assert all(layout.parts == {"images": "jpg"} for layout in got)


def test_parts_of_a_layout(root: Path) -> None:
    found = Found(Layout("some", ".", {"one": "a", "many": "b*/deep", "here": ".", "gone": "c/d", "none": "q*"}), root)
    assert [path.name for path in found.paths("many")] == ["deep"]
    assert found.path("one") == root / "a"
    assert found.absent == ["c/d", "q*"]
    with pytest.raises(IncompleteDataError, match="lacks c/d") as caught:
        found.path("gone")
    assert (caught.value.missing, caught.value.found) == (("c/d",), True)
