"""What is plainly no checkpoint is refused in one line that says what it is."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from sslbench.backbones import load_backbone
from sslbench.backbones.checkpoint import read_state_dict, read_torch
from sslbench.backbones.checkpoints.convert import convert
from sslbench.errors import BackboneError


def zip_of(path: Path, **files: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a page": (
        lambda path: path.write_text("<!DOCTYPE html><title>Sign in</title>"),
        "is a web page, not a checkpoint",
    ),
    "a pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"),
        "is a pointer of Git LFS.*git lfs pull",
    ),
    "nothing": (lambda path: path.write_bytes(b""), "is empty, so that it was cut short"),
    "a text": (lambda path: path.write_text("the weights are elsewhere\n"), "is no checkpoint but a text file"),
    "JSON": (lambda path: path.write_text(json.dumps({"a": 1})), "is no checkpoint but a text file"),
    "an index": (
        lambda path: path.write_text(json.dumps({"metadata": {}, "weight_map": {"a": "b"}})),
        "is no checkpoint but the index of several safetensors files",
    ),
    "UTF-16": (lambda path: path.write_bytes("weights".encode("utf-16")), "is no checkpoint but a text file"),
    "PNG": (lambda path: Image.new("RGB", (3, 3)).save(path, "PNG"), "is no checkpoint but a picture"),
    "JPEG": (lambda path: Image.new("RGB", (3, 3)).save(path, "JPEG"), "is no checkpoint but a picture"),
    "WebP": (lambda path: Image.new("RGB", (3, 3)).save(path, "WEBP"), "is no checkpoint but a picture"),
    "Keras": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "is no checkpoint but an HDF5 file"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(99)), "is no checkpoint but a packed file"),
    "an array": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00" + bytes(99)), "is no checkpoint but a NumPy array"),
    "ONNX": (
        lambda path: path.write_bytes(b"\x08\x07\x12\x07pytorch" + bytes(99)),
        "is no checkpoint but a graph of ONNX",
    ),
    "a zip": (
        lambda path: zip_of(path, **{"readme.txt": "a"}),
        r"is no checkpoint but a zip archive of .* \(readme\.txt\)",
    ),
    "a tar": (
        lambda path: path.write_bytes(bytes(257) + b"ustar" + bytes(250)),
        "is in the tar container that torch wrote",
    ),
    "a folder": (lambda path: path.mkdir(), "is a folder; name the checkpoint file in it"),
    "absent": (lambda path: None, "there is no checkpoint file"),
    "TorchScript": (
        lambda path: torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(path)),
        "is a TorchScript archive, which is code",
    ),
    "noise": (
        lambda path: path.write_bytes(np.random.default_rng(0).integers(0, 256, 999, dtype=np.uint8).tobytes()),
        "not a torch file that can be read",
    ),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "not a torch file that can be read"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_told_in_one_line(kind: str, tmp_path: Path) -> None:
    make, told = KINDS[kind]
    path = tmp_path / "net.pth"
    make(path)
    for read in (read_state_dict, read_torch, lambda path: load_backbone(f"file:{path}?arch=test_vit")):
        with pytest.raises(BackboneError, match=told) as raised:
            read(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name", ["model.onnx", "model.ckpt-250228.index", "model.ckpt.data-00000-of-00001", "page.html"]
)
def test_names_tell_too(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"<html></html>" if name.endswith("html") else bytes(99))
    with pytest.raises(BackboneError, match=rf"{re.escape(name)} is .*expected safetensors, or a file of torch\.save"):
        read_state_dict(tmp_path / name)


def test_numbers_that_look_like_text_are_no_text(tmp_path: Path) -> None:
    save_file({"a": torch.full((50,), 1.1)}, tmp_path / "w")
    assert read_state_dict(tmp_path / "w").keys() == {"a"}


@pytest.mark.parametrize("kind", ["a page", "a pointer", "nothing", "PNG", "Keras", "a tar", "gzip"])
def test_published_checkpoints_are_asked_in_the_same_way(kind: str, tmp_path: Path) -> None:
    make, told = KINDS[kind]
    make(tmp_path / "swav.pth")
    with pytest.raises(BackboneError, match=told):
        convert(tmp_path / "swav.pth", "swav", out_dir=tmp_path / "out")
