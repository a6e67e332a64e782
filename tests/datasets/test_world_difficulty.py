"""Raw pixels and colour histograms must leave room above them, and the scenes must hold what they hide."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sslbench.datasets.world import Scenes, render, sample_scenes
from sslbench.datasets.world.vocabulary import Kind

TRAIN, TEST = 900, 600
Features = NDArray[np.float64]
Pictures = tuple[Scenes, NDArray[np.uint8]]


def _pixels(images: NDArray[np.uint8]) -> Features:
    return np.asarray(images.reshape(-1, 16, 4, 16, 4, 3).mean(axis=(2, 4)).reshape(len(images), -1))


def _histogram(images: NDArray[np.uint8]) -> Features:
    level = (images // 64).astype(np.int64).reshape(len(images), -1, 3)
    bins = level @ np.array([16, 4, 1]) + 64 * np.arange(len(images))[:, None]
    counts = np.bincount(bins.ravel(), minlength=64 * len(images)).reshape(len(images), 64)
    return np.asarray(counts / bins.shape[1])


def _accuracy(features: Features, labels: NDArray[np.int64], strength: float) -> float:
    features = StandardScaler().fit(features[:TRAIN]).transform(features)
    model = LogisticRegression(C=strength, max_iter=200).fit(features[:TRAIN], labels[:TRAIN])
    return float(model.score(features[TRAIN:], labels[TRAIN:]))


def _pictures(kind: Kind) -> Pictures:
    scenes = sample_scenes(TRAIN + TEST, kind=kind, seed=21)
    return scenes, render(scenes).images


@pytest.fixture(scope="module")
def single() -> Pictures:
    return _pictures("single")


@pytest.fixture(scope="module")
def scatter() -> Pictures:
    return _pictures("scatter")


@pytest.mark.parametrize("attribute", ["shape", "texture"])
def test_raw_features_hardly_tell_shape_or_texture(single: Pictures, attribute: str) -> None:
    scenes, images = single
    labels = getattr(scenes, attribute)[:, 0]
    assert _accuracy(_pixels(images), labels, 1e-3) < 0.35
    assert _accuracy(_histogram(images), labels, 0.1) < 0.30


def test_a_colour_histogram_tells_the_colour_in_part(single: Pictures) -> None:
    scenes, images = single
    assert 0.4 < _accuracy(_histogram(images), scenes.colour[:, 0], 1.0) < 0.8


def test_a_colour_histogram_hardly_counts(scatter: Pictures) -> None:
    scenes, images = scatter
    assert _accuracy(_histogram(images), scenes.count, 0.1) < 0.30


def test_the_covered_area_hardly_counts() -> None:
    scenes = sample_scenes(TRAIN + TEST, kind="scatter", seed=22)
    area = (render(scenes).instances > 0).mean(axis=(1, 2))[:, None]
    assert _accuracy(np.hstack([area, area**2]), scenes.count, 1.0) < 0.30


def test_the_normals_tell_the_shape() -> None:
    """With place, texture and background taken away, a linear model sees most shapes."""
    scenes = sample_scenes(TRAIN + TEST, kind="single", seed=23)
    world = render(scenes)
    normals = world.normals.reshape(len(scenes), -1, 3)
    covered = world.instances.reshape(len(scenes), -1) > 0
    grid = np.linspace(0, 1, 11)[1:-1]
    # Quantiles of the normals' heights over the object: flat faces and round sides differ in any pose.
    heights = np.stack([np.quantile(n[c, 2], grid) for n, c in zip(normals, covered, strict=True)])
    assert _accuracy(heights, scenes.shape[:, 0], 1.0) > 0.5
