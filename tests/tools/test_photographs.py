import io
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from pretraining import photographs

from sslbench.errors import DataError


def test_zip_and_folder_give_the_same(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    zipped, unpacked = photographs.load(archive), photographs.load(tmp_path)
    assert {name: len(part.images) for name, part in zipped.items()} == {"train": 64, "val": 24}
    assert zipped["train"].images.shape == (64, 3, 64, 64)
    assert torch.equal(zipped["train"].targets, torch.arange(4).repeat_interleave(16))
    for name in zipped:
        assert torch.equal(zipped[name].images, unpacked[name].images)


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file or folder .*nothing\.zip"):
        photographs.load(tmp_path / "nothing.zip")


def test_not_a_zip(tmp_path: Path) -> None:
    (tmp_path / "page.zip").write_text("<html>")
    with pytest.raises(DataError, match="not a zip file"):
        photographs.load(tmp_path / "page.zip")


def make(path: Path, size: tuple[int, int], names: list[str]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            buffer = io.BytesIO()
            Image.new("RGB", size).save(buffer, "PNG")
            file.writestr(name, buffer.getvalue())


def test_another_size_is_named(tmp_path: Path) -> None:
    make(tmp_path / "a.zip", (32, 32), ["train/a/1.png"])
    with pytest.raises(DataError, match=r"train/a/1\.png has \(32, 32\) pixels; expected \(64, 64\)"):
        photographs.load(tmp_path / "a.zip")


def test_a_split_without_pictures(tmp_path: Path) -> None:
    make(tmp_path / "a.zip", (64, 64), ["train/a/1.png"])
    with pytest.raises(DataError, match="no image below val/CLASS/"):
        photographs.load(tmp_path / "a.zip")


def test_a_class_that_train_lacks(tmp_path: Path) -> None:
    make(tmp_path / "a.zip", (64, 64), ["train/a/1.png", "val/b/1.png"])
    with pytest.raises(DataError, match="val has classes that train lacks: b"):
        photographs.load(tmp_path / "a.zip")


@pytest.mark.parametrize("kept", [0, 20, 120])
def test_a_picture_that_cannot_be_decoded_is_named(kept: int, archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    path = tmp_path / "train" / "n1" / "016.png"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"train/n1/016\.png cannot be decoded \(.+\); replace or remove it"):
        photographs.load(tmp_path)


def test_a_damaged_member_of_an_archive_is_named(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo("train/n1/016.png")
    content = bytearray(archive.read_bytes())
    # Behind the local header of 30 bytes and the name, in the middle of the stored picture.
    content[info.header_offset + 30 + len(info.filename) + info.compress_size // 2] ^= 1
    (tmp_path / "damaged.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"train/n1/016\.png cannot be read \(.+\); fetch the archive again"):
        photographs.load(tmp_path / "damaged.zip")
