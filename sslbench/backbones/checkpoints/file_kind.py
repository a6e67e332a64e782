"""What is plainly no checkpoint, told by the first bytes of a file."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from sslbench.backbones.checkpoints.supervised import SUPERVISED
from sslbench.errors import BackboneError
from sslbench.sources.page import HEAD, describe_page, is_page

_PICTURE, _PACKED = "a picture", "a packed file, which is to be unpacked first"
_MAGIC = (
    (b"\x89PNG\r\n", _PICTURE), (b"\xff\xd8\xff", _PICTURE), (b"GIF8", _PICTURE), (b"II*\0", _PICTURE), (b"MM\0*", _PICTURE),
    (b"RIFF", "a picture, a sound or a film"),
    (b"%PDF", "a PDF"),
    (b"\x89HDF\r\n", "an HDF5 file, such as Keras writes"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GGUF", "a GGUF file"), (b"\xff\xfe", "a text file"), (b"\xfe\xff", "a text file"),
    (b"\x1f\x8b", _PACKED), (b"BZh", _PACKED), (b"\xfd7zXZ\0", _PACKED), (b"\x28\xb5\x2f\xfd", _PACKED),
    (b"7z\xbc\xaf\x27\x1c", _PACKED), (b"Rar!", _PACKED),
)  # fmt: skip
# Field 1, the version, a small number; then a text: the producer. TensorFlow's graphs begin in the same way.
_ONNX = re.compile(rb"\x08[\x01-\x20]\x12[\x01-\x40][\x20-\x7e]|\x08\x01\x12[\x80-\xff]")
_BUNDLE = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")
_EXPECTED = "expected safetensors, or a file of torch.save"


def check_download(path: Path) -> None:
    """Raise BackboneError for what a failed download leaves, or for another kind of file, in the place of any checkpoint."""
    head = _head(path)
    if not head:
        raise BackboneError(f"{path} is empty, so that it was cut short; fetch it again")
    if is_page(path.name, head):
        raise BackboneError(
            f"{path} is a web page, not a checkpoint: the host asked for a login or a click. Open the page it came "
            "from in a browser, and save the file itself"
        )
    if head.startswith(b"version https://git-lfs"):
        raise BackboneError(
            f"{path} is a pointer of Git LFS, not the checkpoint: fetch the file itself with git lfs pull, or from the "
            "repository's page"
        )
    if head[257:262] == b"ustar":
        raise BackboneError(
            f"{path} is in the tar container that torch wrote before 2017, which cannot be read safely. For "
            f"torchvision's ResNet-50 use {SUPERVISED.sources[0].urls[0]} instead of resnet50-19c8e357.pth; it is "
            "taken to hold the same weights"
        )
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            raise BackboneError(f"{path} is no checkpoint but {kind}; {_EXPECTED}")


def check_weights_file(path: Path) -> None:
    """Raise BackboneError for what is neither safetensors nor a file of torch.save at first sight."""
    if path.is_dir():
        raise BackboneError(f"{path} is a folder; name the checkpoint file in it ({_EXPECTED[9:]})")
    if not path.is_file():
        raise BackboneError(f"there is no checkpoint file {path.absolute()}")
    check_download(path)
    head = _head(path)
    if is_safetensors(head):
        return
    if path.name.lower().endswith((".html", ".htm")) and is_page("", head):
        raise BackboneError(f"{path} is {describe_page(head)}; {_EXPECTED}")
    if path.name.endswith(".onnx") or _ONNX.match(head):
        raise BackboneError(f"{path} is no checkpoint but a graph of ONNX or TensorFlow; {_EXPECTED}")
    if _BUNDLE.search(path.name):
        raise BackboneError(f"{path} is a part of a TensorFlow checkpoint; {_EXPECTED}")
    if len(head) > 3 and b"\0" not in head and _is_text(head):
        what = "the index of several safetensors files" if b'"weight_map"' in head else "a text file"
        raise BackboneError(f"{path} is no checkpoint but {what}; {_EXPECTED}")
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path)


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins with the length of a header, below 4 GiB, and the header's brace."""
    return head[8:9] == b"{" and head[4:8] == b"\0\0\0\0"


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] or name for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        # Damaged; torch's reader says how.
        return
    if "constants.pkl" in names:
        raise BackboneError(
            f"{path} is a TorchScript archive, which is code. Save its weights: "
            "torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
        )
    if not any(name.rpartition("/")[2] == "data.pkl" for name in names):
        shown = ", ".join(sorted(names)[:4])
        raise BackboneError(f"{path} is no checkpoint but a zip archive of something else ({shown}); {_EXPECTED}")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise BackboneError(f"cannot read {path}: {error}") from error


def _is_text(head: bytes) -> bool:
    try:
        # A character may be cut at the end.
        text = head[:-4].decode() if len(head) > 4 else head.decode()
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\r\n\t\f\ufeff" for letter in text)
