"""Files by content: digests, headers, and pictures that are there more than once."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from sslbench.datasets.decoding import DAMAGE
from sslbench.datasets.images import ImageFiles
from sslbench.errors import DataError
from sslbench.names import encoded

# Part of the fingerprint of pictures of floats or of 32-bit integers, which were decoded by another rule before.
_WIDE_VALUES = b"wide-1"
_MAY_BE_WIDE = (b"II", b"MM", b"P2", b"P5", b"Pf")


def content_digest(path: Path) -> bytes:
    """Digest of a file's content and, where that was once decoded otherwise, of how it is decoded now."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; make it readable or remove it") from error
    return digest + _WIDE_VALUES if start in _MAY_BE_WIDE and _is_wide(path) else digest


def files_digest(start: str, root: Path, files: Iterable[tuple[Path, bytes]]) -> str:
    """32 hexadecimal digits that change with paths below `root`, contents and order.

    The content counts, not the modification time, so that a copy on another machine hits the same cache.
    """
    digest = hashlib.blake2b(start.encode(), digest_size=16)
    for path, content in files:
        digest.update(encoded(path.relative_to(root).as_posix()) + b"\0" + content)
    return digest.hexdigest()


def image_files(scheme: str, root: Path, files: list[tuple[Path, bytes]], bad_images: str) -> ImageFiles:
    """The pictures of a split, which their content identifies. files: paths below `root` with their `content_digest`."""
    fingerprint = f"{scheme}:{files_digest(bad_images, root, files)}"
    return ImageFiles(fingerprint, tuple(path for path, _ in files), bad_images)


def _is_wide(path: Path) -> bool:
    header = read_header(path)
    return header is not None and header[1] in ("I", "F")


def read_header(path: Path) -> tuple[tuple[int, int], str, str] | None:
    """Width and height, PIL's mode and PIL's format of a picture that is not decoded; None where PIL cannot tell."""
    with warnings.catch_warnings():
        # Told when the picture is decoded, by name.
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                return image.size, image.mode, str(image.format)
        except DAMAGE:
            return None


_WORDS = {
    "test_also_in_train_or_val": "of test are in train or val too",
    "val_also_in_train": "of val are in train too",
    "repeated_in_a_split": "repeat another of their split",
    "in_several_classes": "are in several classes",
}


def identical_pictures(pictures: Mapping[str, Sequence[tuple[bytes, int, str]]]) -> tuple[dict[str, int], str]:
    """Counts for the record and the same in words; both empty where all files differ.

    pictures: for each split the digest of each file, its class number and its name. Counted are test pictures that train or val
    has too, val pictures that train has, pictures that an earlier one of their split repeats, and pictures of which another
    class has a copy.
    """
    groups: dict[bytes, dict[str, list[tuple[int, str]]]] = {}
    for split, files in pictures.items():
        for digest, label, name in files:
            groups.setdefault(digest, {}).setdefault(split, []).append((label, name))
    counts = dict.fromkeys(_WORDS, 0)
    examples: dict[str, str] = {}

    def count(what: str, number: int, one: str, other: str) -> None:
        counts[what] += number
        examples.setdefault(what, f"{one} and {other}")

    for group in groups.values():
        train, val, test = (group.get(split, []) for split in ("train", "val", "test"))
        if test and (train or val):
            count("test_also_in_train_or_val", len(test), test[0][1], (train or val)[0][1])
        if val and train:
            count("val_also_in_train", len(val), val[0][1], train[0][1])
        for copies in (train, val, test):
            if len(copies) > 1:
                count("repeated_in_a_split", len(copies) - 1, copies[1][1], copies[0][1])
        everywhere = [*train, *val, *test]
        if other := next((name for label, name in everywhere if label != everywhere[0][0]), None):
            count("in_several_classes", len(everywhere), everywhere[0][1], other)
    found = {what: number for what, number in counts.items() if number}
    told = [f"{number} {_WORDS[what]} (such as {examples[what]})" for what, number in found.items()]
    return found, "; ".join(told)
