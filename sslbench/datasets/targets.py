"""What is true of each picture of a split; one type for each kind of question, and a protocol says which types it takes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from sslbench.errors import DataError

Rows = npt.NDArray[np.int64]
T = TypeVar("T")


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes, /) -> None:
        """Take in more."""


class Targets(ABC):
    """Answers for N pictures, in the order of the pictures.

    kind: what one is called in messages and lists.
    """

    kind: ClassVar[str]

    @abstractmethod
    def __len__(self) -> int:
        """N."""

    @abstractmethod
    def take(self, rows: Rows) -> Self:
        """Those of some rows, in the order given."""

    @abstractmethod
    def load(self, row: int) -> Any:
        """The answer for one picture; what is large is read from disk or rendered now."""

    @abstractmethod
    def feed(self, digest: Digest) -> None:
        """Give a digest what tells these targets from others; nothing large is read."""

    @abstractmethod
    def check(self, where: str, classes: int) -> None:
        """Raise DataError, which begins with `where`, for targets that do not fit the number of classes."""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that change with the targets."""
        digest = hashlib.sha256(f"{self.kind}|".encode())
        self.feed(digest)
        return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Labels(Targets):
    """One class a picture. values: int64 (N,), other integers become these. Raises DataError for anything else."""

    values: npt.NDArray[np.int64]
    kind: ClassVar[str] = "one class an image"

    def __post_init__(self) -> None:
        # Numbers with a fraction would be cut to integers, and different targets would be one dataset.
        values = _integers(self.values, ndim=1, kinds="iu")
        object.__setattr__(self, "values", values.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Rows) -> Labels:
        """Those of some rows."""
        return Labels(self.values[rows])

    def load(self, row: int) -> int:
        """The class number."""
        return int(self.values[row])

    def feed(self, digest: Digest) -> None:
        """The numbers."""
        digest.update(np.ascontiguousarray(self.values, dtype="<i8").tobytes())

    def check(self, where: str, classes: int) -> None:
        """Numbers from 0 to classes - 1."""
        odd = np.flatnonzero((self.values < 0) | (self.values >= classes))
        if odd.size:
            raise DataError(
                f"{where}: expected a class from 0 to {classes - 1}, got {self.values[odd[0]]} in row {odd[0]}"
            )


@dataclass(frozen=True, eq=False)
class LabelSets(Targets):
    """Any number of classes a picture.

    values: int8 (N, K), 1 present, 0 absent, -1 to be ignored; other integers and bool become these. Raises DataError for
    anything else.
    """

    values: npt.NDArray[np.int8]
    kind: ClassVar[str] = "several classes an image"

    def __post_init__(self) -> None:
        values = _integers(self.values, ndim=2, kinds="iub")
        odd = np.flatnonzero(~np.isin(values, (-1, 0, 1)).all(axis=1))
        if odd.size:
            raise DataError(
                "targets of several classes must be 1 (present), 0 (absent) or -1 (ignored), got "
                f"{values[odd[0]].tolist()} in row {odd[0]}"
            )
        object.__setattr__(self, "values", values.astype(np.int8, copy=False))

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Rows) -> LabelSets:
        """Those of some rows."""
        return LabelSets(self.values[rows])

    def load(self, row: int) -> npt.NDArray[np.int8]:
        """(K,) of 1, 0 and -1."""
        marks: npt.NDArray[np.int8] = self.values[row]
        return marks

    def feed(self, digest: Digest) -> None:
        """The marks."""
        digest.update(np.ascontiguousarray(self.values, dtype="<i8").tobytes())

    def check(self, where: str, classes: int) -> None:
        """A column for each class."""
        if self.values.shape[1] != classes:
            raise DataError(
                f"{where}: expected targets (N, {classes}), a column for each class, got {self.values.shape}"
            )


@dataclass(frozen=True)
class Objects:
    """The annotated objects of one picture.

    boxes: float32 (M, 4) x1, y1, x2, y2 in pixels from the left upper corner of the picture, x2 and y2 exclusive. labels:
    int64 (M,). difficult: bool (M,), those that an evaluation ignores.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    difficult: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class _Deferred(Generic[T]):
    """Answers that are not held: each is read or rendered when it is asked for.

    read: gives that of one of the original pictures. fingerprint: identifies all of them. rows: which of them, in order.
    """

    read: Callable[[int], T]
    fingerprint: str
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Rows) -> Self:
        """Those of some rows; nothing is read."""
        return replace(self, rows=self.rows[rows])

    def feed(self, digest: Digest) -> None:
        """What identifies the answers, and which of them there are."""
        digest.update(f"{self.fingerprint}|".encode())
        digest.update(self.rows.astype("<i8").tobytes())


class DeferredObjects(_Deferred[Objects], Sequence[Objects]):
    """Objects for `Boxes` that are read or rendered when a picture's are asked for; the fingerprint stands for them."""

    def __getitem__(self, row: Any) -> Any:
        """The objects of one picture; of a slice, those of several, still deferred."""
        return self.take(np.arange(len(self))[row]) if isinstance(row, slice) else self.read(int(self.rows[row]))


@dataclass(frozen=True, eq=False)
class Boxes(Targets):
    """The objects of each picture with their boxes.

    objects: one item a picture. Raises DataError for boxes without an area: at once, of DeferredObjects when they are loaded.
    """

    objects: Sequence[Objects]
    kind: ClassVar[str] = "boxes"

    def __post_init__(self) -> None:
        if not isinstance(self.objects, DeferredObjects):
            for row, of_row in enumerate(self.objects):
                _check_objects(row, of_row)

    def __len__(self) -> int:
        return len(self.objects)

    def take(self, rows: Rows) -> Boxes:
        """Those of some rows."""
        if isinstance(self.objects, DeferredObjects):
            return Boxes(self.objects.take(rows))
        return Boxes([self.objects[row] for row in rows])

    def load(self, row: int) -> Objects:
        """The objects of one picture."""
        of_row = self.objects[row]
        if isinstance(self.objects, DeferredObjects):
            _check_objects(row, of_row)
        return of_row

    def feed(self, digest: Digest) -> None:
        """Every box with its label; of DeferredObjects what stands for them."""
        if isinstance(self.objects, DeferredObjects):
            self.objects.feed(digest)
            return
        for of_row in self.objects:
            digest.update(f"{len(of_row)}|".encode())
            digest.update(np.ascontiguousarray(of_row.boxes, dtype="<f4").tobytes())
            digest.update(np.ascontiguousarray(of_row.labels, dtype="<i8").tobytes())
            digest.update(of_row.difficult.astype("u1").tobytes())

    def check(self, where: str, classes: int) -> None:
        """Numbers from 0 to classes - 1; DeferredObjects are not looked at."""
        if isinstance(self.objects, DeferredObjects):
            return
        for row, of_row in enumerate(self.objects):
            odd = of_row.labels[(of_row.labels < 0) | (of_row.labels >= classes)]
            if odd.size:
                raise DataError(f"{where}: expected a class from 0 to {classes - 1}, got {odd[0]} in row {row}")


def _check_objects(row: int, of_row: Objects) -> None:
    boxes, shapes = of_row.boxes, (of_row.boxes.shape, of_row.labels.shape, of_row.difficult.shape)
    if shapes != ((len(of_row), 4), (len(of_row),), (len(of_row),)):
        raise DataError(f"row {row}: expected boxes (M, 4) with labels and difficult (M,), got {shapes}")
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()):
        raise DataError(f"row {row}: expected boxes x1 < x2 and y1 < y2 in pixels, got {boxes.tolist()}")


@dataclass(frozen=True, eq=False)
class _Maps(_Deferred[npt.NDArray[Any]], Targets):
    """A map of answers for each picture, too large to be held."""

    kind: ClassVar[str]

    def load(self, row: int) -> npt.NDArray[Any]:
        """The map of one picture."""
        return self.read(int(self.rows[row]))

    def check(self, where: str, classes: int) -> None:
        """Nothing: a map is checked when it is read."""


@dataclass(frozen=True, eq=False)
class Masks(_Maps):
    """A class for each pixel: uint8 or int32 (H, W). ignore: the value of pixels that count for nothing, if there are any."""

    ignore: int | None = None
    kind: ClassVar[str] = "masks"

    def feed(self, digest: Digest) -> None:
        """What identifies the maps, and which pixels count for nothing."""
        super().feed(digest)
        digest.update(f"|ignore {self.ignore}|".encode())


@dataclass(frozen=True, eq=False)
class Normals(_Maps):
    """A unit normal for each pixel: float32 (H, W, 3), x right, y up, z towards the camera; 0 where there is none.

    codewords: float64 (K, 3) unit vectors in the same axes, where the dataset comes with a vocabulary of normals.
    """

    codewords: npt.NDArray[np.float64] | None = None
    kind: ClassVar[str] = "surface normals"

    def feed(self, digest: Digest) -> None:
        """What identifies the maps, and the vocabulary if there is one."""
        super().feed(digest)
        if self.codewords is not None:
            digest.update(b"|codewords|" + np.ascontiguousarray(self.codewords, dtype="<f8").tobytes())


@dataclass(frozen=True, eq=False)
class Depths(_Maps):
    """How far away each pixel's surface is: float32 (H, W), metres unless the dataset says otherwise; 0 where there is none."""

    kind: ClassVar[str] = "depth"


def as_targets(given: Targets | npt.NDArray[Any]) -> Targets:
    """Targets as they are; an array of integers (N,) becomes Labels, one (N, K) LabelSets. Raises DataError for others."""
    if isinstance(given, Targets):
        return given
    return LabelSets(given) if getattr(given, "ndim", 1) == 2 else Labels(given)


def _integers(given: object, *, ndim: int, kinds: str) -> npt.NDArray[Any]:
    wanted = {1: "Labels: integers (N,), class numbers", 2: "LabelSets: integers (N, K) of 1, 0 and -1"}[ndim]
    if not isinstance(given, np.ndarray):
        raise DataError(f"targets must be a NumPy array, got {type(given).__name__}")
    if given.ndim != ndim or given.dtype.kind not in kinds:
        advice = "; if they are whole numbers, give targets.astype(np.int64)" * (given.dtype.kind not in kinds)
        raise DataError(f"targets must be {wanted}, got {given.dtype} {given.shape}{advice}")
    return given
