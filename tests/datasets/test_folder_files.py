"""What lies in a class folder is read, or counted and told."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.config import Settings
from sslbench.datasets import inspect
from sslbench.datasets.content import content_digest
from sslbench.datasets.dataset import Dataset
from sslbench.datasets.families._folder_reading import load_folder
from sslbench.errors import DataError, DataWarning
from tests.datasets.pictures import picture, pictures

LATIN = os.fsdecode(b"caf\xe9")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pictures(tmp_path / "images", "cat", "dog")


def load(root: Path) -> Dataset:
    return load_folder(f"folder:{root}", Settings())


def read(dataset: Dataset, root: Path) -> set[str]:
    return {str(Path(path).relative_to(root)) for split in dataset.splits.values() for path in split.images.paths}


def loaded(root: Path, told: str) -> tuple[set[str], dict[str, object]]:
    """What was read beside the ten pictures that are always there, and what the record says of the rest."""
    with pytest.warns(DataWarning, match=rf"^folder:\S*images: not read: {told}"):
        dataset = load(root)
    usual = {f"{label}/{index}.png" for label in ("cat", "dog") for index in range(5)}
    found = read(dataset, root)
    assert found >= usual
    return found - usual, dict(dataset.details["not_read"])


def test_a_plain_folder_says_nothing(root: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(load(root).details) == {"split", "split_seed"}


def test_other_suffixes_of_pictures_are_read(root: Path) -> None:
    expected = set()
    for name, kind in (
        ("a.jfif", "JPEG"), ("b.JPE", "JPEG"), ("c", "JPEG"), ("d", "PNG"), ("e.Jp2", "JPEG2000"), ("f.avif", "AVIF"),
        ("g.pnm", "PPM"), ("h.dib", "DIB"), ("i.tga", "TGA"), ("j", "WEBP"), ("k", "GIF"), ("l.apng", "PNG"), ("m.", "JPEG"),
    ):  # fmt: skip
        picture(root / "cat" / name, kind)
        expected.add(f"cat/{name}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = load(root)
    assert {name for name in read(dataset, root) if Path(name).suffix != ".png"} == expected
    for split in dataset.splits.values():
        assert all(image.size == (6, 6) for image in split.images.load(range(len(split.images))))


def test_what_is_no_picture_is_counted_by_its_suffix(root: Path) -> None:
    np.save(root / "cat" / "mask.npy", np.zeros(3))
    for name in ("a.txt", "deep/b.TXT", "Thumbs.db", "README", "photo.heic", "photo.jpg.bak", "raw.nef", "raw"):
        path = root / "dog" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\0\0\0\x18ftypheic" if "heic" in name else b"II*\0" if "raw" in name else b"some text")
    shutil.copy(root / "dog" / "0.png", root / "dog" / "copy.png~")
    more, details = loaded(
        root, r"\.bak: 1, \.db: 1, \.heic: 1, \.nef: 1, \.npy: 1, \.png~: 1, \.txt: 2, no suffix: 2$"
    )
    assert more == set()
    assert details == {
        "other_files": {
            ".bak": 1, ".db": 1, ".heic": 1, ".nef": 1, ".npy": 1, ".png~": 1, ".txt": 2, "no suffix": 2,
        }
    }  # fmt: skip


def test_hidden_files_and_those_of_tools_are_never_read(root: Path) -> None:
    for place in (
        "cat/.ipynb_checkpoints",
        "cat/.thumbnails/large",
        "dog/@eaDir/0.png",
        "__MACOSX/cat",
        "cat/deep/.trash",
        ".",
    ):
        picture(root / place / (".x.png" if place == "." else "x.png"))
    # Metadata of macOS and of git is no picture, whatever its name.
    (root / "cat" / "._0.png").write_bytes(b"\0\5\x16\7metadata")
    (root / "dog" / ".git").mkdir()
    shutil.copy(root / "dog" / "0.png", root / "dog" / ".git" / "0123abcd")
    more, details = loaded(root, "hidden pictures: 6$")
    assert (more, details) == (set(), {"hidden_pictures": 6})


def test_hidden_files_without_pictures_say_nothing(root: Path) -> None:
    (root / "cat" / ".DS_Store").write_bytes(b"x")
    (root / ".git").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read(load(root), root)) == 10


def test_a_hidden_folder_above_is_no_matter(tmp_path: Path) -> None:
    root = pictures(tmp_path / ".cache" / "images", "cat", "dog")
    assert len(read(load(root), root)) == 10


def test_links_to_files_and_folders_are_followed(root: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "elsewhere", "more/deep", "bird")
    picture(tmp_path / "elsewhere" / "one.png")
    (root / "cat" / "linked.png").symlink_to(tmp_path / "elsewhere" / "one.png")
    (root / "cat" / "a-folder").symlink_to(tmp_path / "elsewhere" / "more")
    (root / "bird").symlink_to(tmp_path / "elsewhere" / "bird")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = load(root)
    assert dataset.classes == ("bird", "cat", "dog")
    assert {"cat/linked.png", "cat/a-folder/deep/0.png", "bird/4.png"} < read(dataset, root)


def test_links_in_a_circle_end_and_are_counted(root: Path) -> None:
    (root / "cat" / "deep").mkdir()
    picture(root / "cat" / "deep" / "x.png")
    for name, target in (("up", ".."), ("self", "."), ("root", "../.."), ("again", "../deep")):
        (root / "cat" / "deep" / name).symlink_to(target)
    (root / "cat" / "a").symlink_to("deep")
    (root / "dog" / "me").symlink_to("me")
    (root / "dog" / "gone.png").symlink_to("nowhere.png")
    more, details = loaded(root, "broken links: 2, links to folders that were read already: 5$")
    # The folder itself and not the link before it in the alphabet, as if there were no link.
    assert more == {"cat/deep/x.png"}
    assert details == {"broken_links": 2, "repeated_folders": 5}


def test_pictures_beside_the_classes_are_counted(root: Path) -> None:
    picture(root / "overview.jpg", "JPEG")
    (root / "labels.csv").write_text("a,b\n")
    assert loaded(root, "pictures outside of the class folders: 1$") == (set(), {"pictures_outside_of_classes": 1})


def test_all_classes_without_a_picture_are_named_with_what_they_hold(root: Path) -> None:
    for label in ("notes", "empty"):
        (root / label).mkdir()
    (root / "notes" / "a.txt").write_text("text")
    told = r"no image in the class folders empty, notes; add images or remove the folders \(not read: \.txt: 1\)"
    with pytest.raises(DataError, match=told):
        load(root)


def test_names_that_are_not_utf8(root: Path) -> None:
    shutil.move(root / "cat", root / LATIN)
    (root / LATIN / "0.png").rename(root / LATIN / f"{LATIN}.png")
    (root / LATIN / f"note.{LATIN}").write_text("text")
    shutil.copy(root / LATIN / "1.png", root / LATIN / f"copy-{LATIN}.png")
    with pytest.warns(DataWarning) as seen:
        dataset = load(root)
    assert dataset.classes == (LATIN, "dog")
    assert f"{LATIN}/{LATIN}.png" in read(dataset, root)
    assert dataset.details["not_read"] == {"other_files": {r".caf\xe9": 1}}
    assert r"not read: .caf\xe9: 1" in str(seen[0].message)
    assert r"(such as caf\xe9/1.png and caf\xe9/copy-caf\xe9.png)" in str(seen[1].message)
    assert load(root).fingerprint == dataset.fingerprint
    # Two names that differ in such a byte alone are two datasets.
    before = {name: split.images.fingerprint for name, split in dataset.splits.items()}
    (root / LATIN / f"{LATIN}.png").rename(root / LATIN / os.fsdecode(b"caf\xea.png"))
    after = {name: split.images.fingerprint for name, split in load(root).splits.items()}
    assert sum(before[name] != after[name] for name in before) == 1


def test_names_in_utf8_are_hashed_as_before(root: Path) -> None:
    """A pinned fingerprint: features that are cached must be found again."""
    shutil.rmtree(root)
    for label in ("Bär", "cat"):
        for index in range(5):
            (root / label).mkdir(parents=True, exist_ok=True)
            # Not saved by PIL, whose bytes follow its version.
            (root / label / f"{index}.png").write_bytes(f"{label} {index}".encode())
    fingerprints = [split.images.fingerprint for split in load(root).splits.values()]
    assert fingerprints == [
        "folder:56be1afe129691c26de502f2e775e5c4",
        "folder:d8d2fd0198a04748a70e1da86da945d8",
        "folder:981152c5aa219c93077f005a0a7315e0",
    ]


def test_floats_are_cached_apart_from_what_they_once_were(root: Path) -> None:
    """Whoever has black features of them in a cache must not get them again."""
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for name, picture_of in (
        ("floats", Image.fromarray(values)),
        ("bytes", Image.fromarray((values * 255).astype(np.uint8))),
    ):
        picture_of.save(root / "cat" / f"{name}.tif")
    assert len(content_digest(root / "cat" / "bytes.tif")) == 16
    assert content_digest(root / "cat" / "floats.tif")[16:] == b"wide-1"


def test_identical_pictures_are_counted_and_told(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        pictures(tmp_path / split, "cat", "dog")
    train, val, test = (tmp_path / split for split in ("train", "val", "test"))
    shutil.copy(train / "cat" / "0.png", test / "cat" / "leak.png")
    shutil.copy(train / "cat" / "0.png", test / "cat" / "leak-again.png")
    shutil.copy(val / "dog" / "1.png", test / "dog" / "leak.png")
    shutil.copy(train / "dog" / "2.png", val / "dog" / "leak.png")
    shutil.copy(train / "cat" / "3.png", train / "dog" / "other.png")
    with pytest.warns(DataWarning) as seen:
        details = load(tmp_path).details
    assert details["identical_pictures"] == {
        "test_also_in_train_or_val": 3, "val_also_in_train": 1, "repeated_in_a_split": 2, "in_several_classes": 2,
    }  # fmt: skip
    (warning,) = seen
    told = str(warning.message)
    assert "3 of test are in train or val too (such as test/cat/leak-again.png and train/cat/0.png)" in told
    assert "1 of val are in train too (such as val/dog/leak.png and train/dog/2.png)" in told
    assert "2 are in several classes (such as train/cat/3.png and train/dog/other.png)" in told


def test_identical_pictures_in_splits_that_are_drawn(root: Path) -> None:
    for index in range(5):
        for copy in range(3):
            shutil.copy(root / "cat" / f"{index}.png", root / "cat" / f"{index}-{copy}.png")
    with pytest.warns(DataWarning, match="of test are in train or val too"):
        dataset = load(root)
    contents = {
        name: [Path(path).read_bytes() for path in split.images.paths] for name, split in dataset.splits.items()
    }
    seen = {*contents["train"], *contents["val"]}
    counted = dataset.details["identical_pictures"]
    assert counted["test_also_in_train_or_val"] == sum(content in seen for content in contents["test"]) > 0
    assert counted["val_also_in_train"] == sum(content in contents["train"] for content in contents["val"]) > 0
    assert counted["repeated_in_a_split"] == sum(len(part) - len(set(part)) for part in contents.values())


def test_whether_a_folder_is_there(root: Path) -> None:
    status = inspect(f"folder:{root}")
    assert (status.state, status.bytes) == ("ready", sum(path.stat().st_size for path in root.glob("*/*.png")))
    status = inspect(f"folder:{root}/nowhere")
    assert status.state == "incomplete"
    assert "there is no folder" in status.missing[0]
