"""Codewords of normals: clustering against a loop, encoding against distances, decoding against means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sslbench.datasets import ImageArray, Normals
from sslbench.errors import DataError
from sslbench.protocols._codewords import checked, clustered, sampled_normals, sampled_rows
from sslbench.protocols._dense_coding import Codewords, codewords_of
from tests.protocols.dense import part


def unit(count: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, 3))
    found[:, 2] = np.abs(found[:, 2])
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_each_codeword_is_the_direction_of_those_nearest_to_it() -> None:
    points = unit(500)
    centres = clustered(3 * points, 12)
    assert centres.shape == (12, 3) and np.linalg.norm(centres, axis=1) == pytest.approx(1, abs=1e-5)
    own: list[list[np.ndarray]] = [[] for _ in centres]
    for point in points:
        own[min(range(12), key=lambda k: float(((point - centres[k]) ** 2).sum()))].append(point)
    for centre, members in zip(centres, own, strict=True):
        mean = np.sum(members, axis=0)
        assert centre == pytest.approx(mean / np.linalg.norm(mean), abs=1e-4)
    # The same each time, and nearer than as many drawn at random.
    assert np.array_equal(clustered(3 * points, 12), centres)
    angles = [np.degrees(np.arccos((points @ each.T).max(1).clip(-1, 1))).mean() for each in (centres, points[:12])]
    assert angles[0] < 0.8 * angles[1]


def test_as_many_codewords_as_there_are_directions() -> None:
    three = unit(3)
    found = clustered(np.repeat(three, 50, axis=0))
    assert sorted(found.round(4).tolist()) == sorted(three.round(4).tolist())


def test_opposite_normals_do_not_leave_a_codeword_without_direction() -> None:
    found = clustered(np.array([[0, 0, 1.0], [0, 0, -1.0]]), 1)
    assert np.abs(found[0, 2]) == 1


def test_a_sample_is_spread_and_of_what_is_there() -> None:
    assert sampled_rows(3).tolist() == [0, 1, 2]
    rows = sampled_rows(1000)
    assert len(rows) == 200 and (rows[0], rows[-1]) == (0, 999) and np.diff(rows).max() <= 6
    normals = np.zeros((30, 40, 3), np.float32)
    assert sampled_normals(normals, 0).shape == (0, 3)
    normals[5:25] = unit(800).reshape(20, 40, 3)
    found = sampled_normals(normals, 7)
    assert found.shape == (200, 3) and found.any(axis=1).all()
    assert np.array_equal(found, sampled_normals(normals, 7)) and not np.array_equal(found, sampled_normals(normals, 8))


def test_normals_are_encoded_to_the_nearest_and_decoded_by_the_mean() -> None:
    coding = Codewords(unit(40, 1), "made here")
    normals = unit(60, 2).reshape(6, 10, 3).astype(np.float32)
    normals[2, 3] = 0
    codes = coding.encode(normals, None)  # type: ignore[arg-type]
    assert codes.dtype == np.uint8 and codes[2, 3] == coding.none
    for y, x in np.ndindex(6, 10):
        if (y, x) != (2, 3):
            assert codes[y, x] == ((coding.vectors - normals[y, x]) ** 2).sum(axis=1).argmin()
    # More pixels than are encoded at once.
    many = unit(9000, 3).reshape(90, 100, 3).astype(np.float32)
    assert np.array_equal(coding.encode(many, None), (many.astype(float) @ coding.vectors.T).argmax(axis=2))  # type: ignore[arg-type]
    # Codewords themselves come back.
    there = torch.eye(40)[None, :, :, None]
    assert coding.decode(there)[0, :, 0] == pytest.approx(coding.vectors, abs=1e-6)
    shares = torch.rand(2, 40, 3, 4).softmax(dim=1)
    found = coding.decode(shares)
    for b, y, x in np.ndindex(2, 3, 4):
        mean = sum(float(shares[b, k, y, x]) * coding.vectors[k] for k in range(40))
        assert found[b, y, x] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_codewords_that_cancel_out_face_the_camera() -> None:
    coding = Codewords(np.array([[1.0, 0, 0], [-1.0, 0, 0]]), "made here")
    assert coding.decode(torch.full((1, 2, 1, 1), 0.5)).tolist() == [[[[0, 0, 1]]]]


def test_a_datasets_own_codewords_are_taken() -> None:
    own = unit(40, 5)
    normals = Normals(lambda row: np.zeros((64, 64, 3), np.float32), "none", np.arange(2))
    images = ImageArray("black", np.zeros((2, 64, 64, 3), np.uint8))
    with pytest.raises(DataError, match="none of 2 training pictures has a normal to learn from"):
        codewords_of(part(images, normals))
    object.__setattr__(normals, "codewords", own)
    found = codewords_of(part(images, normals))
    assert np.allclose(found.vectors, own) and found.told["codewords"] == "of the dataset"
    made = Normals(lambda row: unit(64 * 64, row).reshape(64, 64, 3).astype(np.float32), "some", np.arange(2))
    told = codewords_of(part(images, made)).told
    assert (told["codewords"], told["codewords_number"]) == ("k-means of train", 40)
    assert told["codewords_digest"] != found.told["codewords_digest"]


@pytest.mark.parametrize(
    ("codewords", "told"),
    [
        (np.ones((40, 2)), r"expected finite numbers \(K, 3\), K at least 2, got \(40, 2\)"),
        (np.full((40, 3), np.nan), "expected finite numbers"),
        (np.array([[0, 0, 1.0], [0, 0, 2.0]]), "expected unit vectors, got one of length 2 in row 1"),
    ],
)
def test_what_are_no_codewords_is_told(codewords: np.ndarray, told: str) -> None:
    with pytest.raises(DataError, match=told):
        checked(codewords)
    with pytest.raises(DataError, match="expected at most 255 codewords of normals, got 300"):
        Codewords(unit(300), "made here")
