"""Some test pictures' maps, reduced, as the arrays that lie beside a record: enough to look at them without the network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Kind = Literal["masks", "normals", "depth"]
KINDS: tuple[str, ...] = get_args(Kind)

BYTES = 255
"""So many classes at most are kept as bytes, in which 255 are ignored pixels; of more, int16 with -1 for these."""

HIGHER_IS_BETTER = {"masks": True, "normals": False, "depth": False}
"""Whether a picture with a larger figure is the better one."""

_TAILS = {"masks": (), "normals": (3,), "depth": ()}


@dataclass(frozen=True)
class KeptMaps:
    """Truth and prediction of one picture, reduced to the same size.

    place: among the N pictures of the samples. size: height and width before they were reduced. truth, predicted: masks uint8 or
    int16 (h, w); normals int8 (h, w, 3) of 127 times the unit vector, 0 where there is none; depth float16 (h, w) in metres, 0
    where nothing is known.
    """

    place: int
    size: tuple[int, int]
    truth: NDArray[Any]
    predicted: NDArray[Any]

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Pixels (h, w) whose truth counts."""
        counted: NDArray[np.bool_]
        if self.truth.ndim == 3:
            counted = np.any(self.truth, axis=2)
        elif self.truth.dtype.kind == "f":
            counted = self.truth > 0
        else:
            counted = self.truth != ignored_value(self.truth.dtype)
        return counted


@dataclass(frozen=True)
class DenseSamples:
    """What a network gave for N test pictures, and what was kept of it to be looked at.

    kind: what the maps are. classes: names, empty for what has none. rows: int64 (N,), the row of each picture in the test split.
    figures: float32 (N,), each picture's own main figure; nan where no pixel counts. kept: of some pictures, by place.
    """

    kind: Kind
    classes: tuple[str, ...]
    rows: NDArray[np.int64]
    figures: NDArray[np.float32]
    kept: tuple[KeptMaps, ...]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """By the names under which they are stored."""
        dtype = stored_dtype(self.kind, len(self.classes))

        def flat(parts: list[NDArray[Any]]) -> NDArray[Any]:
            return np.concatenate([np.zeros(0, dtype), *(part.ravel() for part in parts)])

        return {
            "maps_about": _as_bytes({"kind": self.kind, "classes": list(self.classes)}),
            "rows": self.rows.astype(np.int64),
            "figures": self.figures.astype(np.float32),
            "kept_places": np.array([one.place for one in self.kept], dtype=np.int32),
            "kept_full_sizes": np.array([one.size for one in self.kept], dtype=np.int32).reshape(-1, 2),
            "kept_sizes": np.array([one.truth.shape[:2] for one in self.kept], dtype=np.int32).reshape(-1, 2),
            "kept_truth": flat([one.truth for one in self.kept]),
            "kept_predicted": flat([one.predicted for one in self.kept]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> DenseSamples:
        """The inverse of `to_arrays`; other arrays may be among them. Raises ValueError for arrays that are not such maps."""
        try:
            about = json.loads(arrays["maps_about"].tobytes())
            kind, classes = about["kind"], tuple(map(str, about["classes"]))
            if kind not in KINDS:
                raise ValueError(f"expected maps of a kind among {', '.join(KINDS)}, got {kind!r}")
            samples = cls(kind, classes, arrays["rows"], arrays["figures"], tuple(_restored(arrays, kind)))
            _check(samples)
            return samples
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"these are not the maps of a record: {type(error).__name__}: {error}") from error


def stored_dtype(kind: str, classes: int) -> np.dtype[Any]:
    """What maps of a kind are kept in."""
    masks = np.uint8 if classes <= BYTES else np.int16
    return np.dtype({"masks": masks, "normals": np.int8, "depth": np.float16}[kind])


def ignored_value(dtype: np.dtype[Any]) -> int:
    """What stands in kept masks for a pixel that does not count."""
    return BYTES if dtype == np.uint8 else -1


def _restored(arrays: Mapping[str, NDArray[Any]], kind: str) -> list[KeptMaps]:
    kept, at, tail = [], 0, _TAILS[kind]
    flat = arrays["kept_truth"], arrays["kept_predicted"]
    rows = zip(*(arrays[f"kept_{name}"].tolist() for name in ("places", "full_sizes", "sizes")), strict=True)
    for place, (high, wide), size in rows:
        end = at + int(np.prod((*size, *tail)))
        truth, predicted = (part[at:end].reshape(*size, *tail) for part in flat)
        kept.append(KeptMaps(place, (high, wide), truth, predicted))
        at = end
    if sizes := {len(part) for part in flat} - {at}:
        raise ValueError(f"expected {at} values of kept maps, got {sorted(sizes)[0]}")
    return kept


def _check(samples: DenseSamples) -> None:
    images, dtype = len(samples.rows), stored_dtype(samples.kind, len(samples.classes))
    if samples.figures.shape != (images,):
        raise ValueError(f"expected a figure of each of {images} pictures, got {samples.figures.shape}")
    for one in samples.kept:
        if not 0 <= one.place < images or np.isnan(samples.figures[one.place]):
            raise ValueError(f"expected kept maps of pictures with a figure below {images}, got place {one.place}")
        for part in (one.truth, one.predicted):
            if part.dtype != dtype:
                raise ValueError(f"expected {samples.kind} of {dtype}, got {part.dtype}")
            labels = part[part != ignored_value(dtype)] if samples.kind == "masks" else part[:0]
            if labels.size and not 0 <= labels.min() <= labels.max() < len(samples.classes):
                raise ValueError(
                    f"expected masks of {len(samples.classes)} classes, got {labels.min()} to {labels.max()}"
                )


def _as_bytes(data: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(data).encode(), dtype=np.uint8)
