"""Directions that stand for all normals: those of a dataset, or a clustering of its training normals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sslbench.errors import DataError

COUNT = 40
# Of a sample: pictures, and normals of each.
_PICTURES, _EACH = 200, 200
_ROUNDS = 100
_SEED = 40

Vectors = npt.NDArray[np.float64]


def checked(codewords: npt.NDArray[np.floating]) -> Vectors:
    """Codewords of a dataset, float64 (K, 3). Raises DataError for what is no set of different unit vectors."""
    given = np.asarray(codewords, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != 3 or len(given) < 2 or not np.isfinite(given).all():
        raise DataError(f"codewords of normals: expected finite numbers (K, 3), K at least 2, got {given.shape}")
    lengths = np.linalg.norm(given, axis=1)
    if np.abs(lengths - 1).max() > 1e-3:
        worst = int(np.abs(lengths - 1).argmax())
        raise DataError(
            f"codewords of normals: expected unit vectors, got one of length {lengths[worst]:g} in row {worst}"
        )
    vectors: Vectors = given / lengths[:, None]
    return vectors


def sampled_rows(count: int) -> npt.NDArray[np.int64]:
    """At most 200 of so many pictures, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, _PICTURES)).round().astype(np.int64))


def sampled_normals(normals: npt.NDArray[np.float32], row: int) -> npt.NDArray[np.float32]:
    """At most 200 of the normals (H, W, 3) of a picture that are not 0. row: of the picture, which the draw follows from."""
    there = normals.reshape(-1, 3)
    there = there[there.any(axis=1)]
    if len(there) <= _EACH:
        return there
    return there[np.random.default_rng([_SEED, row]).choice(len(there), _EACH, replace=False)]


def clustered(normals: npt.NDArray[np.floating], count: int = COUNT) -> Vectors:
    """`count` unit vectors by spherical k-means (Dhillon and Modha 2001), begun as k-means++ begins; fewer for fewer normals.

    normals: (N, 3), N at least 1, of any length but 0. The same normals give the same vectors, rounded to six places so that
    another processor's do too.
    """
    points = np.asarray(normals, dtype=np.float64)
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    generator = np.random.default_rng(_SEED)
    centres = points[generator.integers(len(points))][None]
    # Of unit vectors the squared distance is 2 - 2 cos.
    distance = 1 - points @ centres[0]
    while len(centres) < count and distance.max() > 1e-9:
        chosen = generator.choice(len(points), p=distance.clip(0) / distance.clip(0).sum())
        centres = np.concatenate([centres, points[chosen][None]])
        distance = np.minimum(distance, 1 - points @ points[chosen])
    nearest = None
    for _ in range(_ROUNDS):
        now = (points @ centres.T).argmax(axis=1)
        if nearest is not None and np.array_equal(now, nearest):
            break
        nearest = now
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # Whom nobody is nearest to, or whose own cancel out, stays.
        centres = np.where(lengths > 1e-12, sums / np.maximum(lengths, 1e-12), centres)
    vectors: Vectors = centres.round(6)
    return vectors
