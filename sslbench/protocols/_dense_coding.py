"""How targets become classes that a head is trained on, and what its probabilities mean."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sslbench.datasets import Masks, Normals, Targets
from sslbench.errors import DataError
from sslbench.protocols._codewords import Vectors, checked, clustered, sampled_normals, sampled_rows
from sslbench.protocols.base import Part

Array = npt.NDArray[Any]
_PIECE = 8192


class Coding(ABC):
    """Classes of a head.

    classes: how many. none: what a map of classes has where nothing counts. told: facts for the record.
    """

    classes: int
    none: int
    told: dict[str, Any]

    @abstractmethod
    def check(self, target: Array, targets: Targets, where: str) -> None:
        """Raise DataError, which begins with `where`, for a target that is none of these classes."""

    @abstractmethod
    def encode(self, target: Array, targets: Targets) -> Array:
        """A map (H, W) of class numbers and `none` from a target, as small as can be."""

    @abstractmethod
    def decode(self, probabilities: Tensor) -> Array:
        """What is predicted: (B, H, W), or (B, H, W, 3), on the CPU from probabilities (B, K, H, W)."""


class Classes(Coding):
    """The classes of masks. classes: how many the dataset has."""

    def __init__(self, classes: int) -> None:
        self.classes, self.told = classes, {}
        # 255 is free unless there are so many classes.
        self.none = 255 if classes <= 255 else -1
        self._type = "u1" if classes <= 255 else "i4"

    def check(self, target: Array, targets: Targets, where: str) -> None:
        """Whole numbers (H, W) below the number of classes, or ignored."""
        if target.ndim != 2 or target.dtype.kind not in "iu":
            raise DataError(f"{where}: expected a mask of whole numbers (H, W), got {target.dtype} {target.shape}")
        # Looked at as a whole first: what is ignored is above or below the classes as a rule, and often there is none.
        odd = (target < 0) | (target >= self.classes)
        if odd.any() and (_ignored(targets) is None or bool((odd := odd & (target != _ignored(targets))).any())):
            raise DataError(
                f"{where}: expected classes from 0 to {self.classes - 1}"
                + (f", or {_ignored(targets)} for pixels that do not count" if _ignored(targets) is not None else "")
                + f", got {target[odd][0]}; correct the masks or the classes"
            )

    def encode(self, target: Array, targets: Targets) -> Array:
        """uint8 where the classes allow."""
        ignored = _ignored(targets)
        found: Array = target.astype(self._type)
        if ignored is not None:
            found[target == ignored] = self.none
        return found

    def decode(self, probabilities: Tensor) -> Array:
        """The most probable class."""
        kind = torch.uint8 if self.classes <= 256 else torch.int32
        if probabilities.device.type != "cpu":
            found: Array = probabilities.argmax(dim=1).to(kind).cpu().numpy()
            return found
        # torch's argmax over an inner dimension takes several times as long on a CPU.
        best = probabilities[:, 0].clone()
        place = torch.zeros(best.shape, dtype=kind)
        for number in range(1, self.classes):
            place.masked_fill_(probabilities[:, number] > best, number)
            torch.maximum(best, probabilities[:, number], out=best)
        answer: Array = place.numpy()
        return answer


class Codewords(Coding):
    """Directions, of which each normal is taken for the nearest.

    vectors: float64 (K, 3) of unit length, K at most 255. told: where they are from, for the record.
    """

    none = 255

    def __init__(self, vectors: Vectors, told: str) -> None:
        if len(vectors) > self.none:
            raise DataError(f"expected at most {self.none} codewords of normals, got {len(vectors)}")
        self.vectors, self.classes = vectors, len(vectors)
        digest = hashlib.sha256(np.ascontiguousarray(vectors, dtype="<f8").tobytes()).hexdigest()[:16]
        self.told = {"codewords": told, "codewords_number": len(vectors), "codewords_digest": digest}

    def check(self, target: Array, targets: Targets, where: str) -> None:
        """Finite numbers (H, W, 3)."""
        if target.ndim != 3 or target.shape[2] != 3 or target.dtype.kind != "f":
            raise DataError(f"{where}: expected normals float32 (H, W, 3), got {target.dtype} {target.shape}")
        if not np.isfinite(target).all():
            raise DataError(f"{where}: its normals are not finite; expected unit vectors, and 0 where there is none")

    def encode(self, target: Array, targets: Targets) -> Array:
        """uint8; the nearest codeword is the one of the largest product, since all have one length."""
        flat = target.reshape(-1, 3).astype(np.float32, copy=False)
        vectors, found = self.vectors.T.astype(np.float32), np.empty(len(flat), np.uint8)
        # In pieces whose products stay in the processor's cache: in half the time.
        for start in range(0, len(flat), _PIECE):
            found[start : start + _PIECE] = (flat[start : start + _PIECE] @ vectors).argmax(axis=1)
        found[~flat.any(axis=1)] = self.none
        codes: Array = found.reshape(target.shape[:2])
        return codes

    def decode(self, probabilities: Tensor) -> Array:
        """float32 unit vectors: the mean of the codewords by their probabilities, normalised."""
        vectors = torch.from_numpy(self.vectors).to(probabilities)
        mean = torch.einsum("bkhw,kd->bhwd", probabilities, vectors)
        found: Array = torch.nn.functional.normalize(mean, dim=3).cpu().numpy()
        # Codewords that cancel out leave none: towards the camera is as good as any.
        found[~found.any(axis=3)] = (0, 0, 1)
        return found


def check_learned(counts: npt.NDArray[Any], classes: Sequence[str]) -> None:
    """Raise DataError for training pictures without a pixel of some class. counts: pixels of each."""
    if absent := _absent(counts, classes):
        raise DataError(f"no training pixel has {absent}; add pictures or leave the classes out")


def check_scored(counts: npt.NDArray[Any], classes: Sequence[str]) -> None:
    """Raise DataError for a test split without a pixel of some class: the mean over the classes has no value there.

    counts: pixels of each. What a network answers must not decide whether the class counts.
    """
    if absent := _absent(counts, classes):
        raise DataError(
            f"the mean over the classes has no value on the test split, of which no pixel has {absent}; add pictures or leave "
            "the classes out"
        )


def _absent(counts: npt.NDArray[Any], classes: Sequence[str]) -> str:
    names = [repr(name) for name, count in zip(classes, counts, strict=True) if not count]
    return f"the class{'es' * (len(names) > 1)} {', '.join(names)}" if names else ""


def check_size(target: Array, picture: tuple[int, int] | None, where: str) -> None:
    """Raise DataError, which begins with `where`, for a target of another size than its picture, where that is known."""
    if picture is not None and target.shape[:2] != picture:
        raise DataError(
            f"{where}: expected a map of the picture's {picture[0]} x {picture[1]} pixels (height x width), got one of shape "
            f"{target.shape}; correct the file, or leave the picture out"
        )


def check_counts(pixels: npt.NDArray[Any], where: str) -> None:
    """Raise DataError, which begins with `where`, for a mask of which no pixel counts. pixels: of each class."""
    if not pixels.any():
        raise DataError(
            f"{where}: no pixel of the mask counts; leave the picture out, or correct the mask or what is ignored"
        )


def codewords_of(part: Part) -> Codewords:
    """Those of the dataset, which `Normals.codewords` holds, or 40 made of a sample of the training normals.

    part: the split train. Raises DataError where there is no normal.
    """
    assert isinstance(part.targets, Normals)
    own = getattr(part.targets, "codewords", None)
    if own is not None:
        return Codewords(checked(own), "of the dataset")
    rows = sampled_rows(len(part.targets)).tolist()
    found = np.concatenate([sampled_normals(part.targets.load(row), row) for row in rows])
    if not len(found):
        raise DataError(
            f"none of {len(rows)} training pictures has a normal to learn from; correct the files, 0 stands for no normal"
        )
    if not np.isfinite(found).all():
        raise DataError("training normals are not finite; expected unit vectors, and 0 where there is none")
    return Codewords(clustered(found), "k-means of train")


def _ignored(targets: Targets) -> int | None:
    assert isinstance(targets, Masks)
    return targets.ignore
