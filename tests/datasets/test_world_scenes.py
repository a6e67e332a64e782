"""The draws: balance, reproducibility, indexing and bad arguments."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest

from sslbench.datasets.world import COLOURS, SHAPES, TEXTURES, Scenes, sample_scenes
from sslbench.datasets.world.vocabulary import KINDS, MAX_OBJECTS, Kind


def _assert_equal(first: Scenes, second: Scenes) -> None:
    for field in fields(Scenes):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), err_msg=field.name)


def _even(labels: np.ndarray, classes: int) -> bool:
    counts = np.bincount(labels, minlength=classes)
    return len(counts) == classes and bool(np.ptp(counts) <= 1)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_scenes_and_other_seed_others(kind: Kind) -> None:
    first = sample_scenes(40, kind=kind, seed=5)
    _assert_equal(first, sample_scenes(40, kind=kind, seed=5))
    other = sample_scenes(40, kind=kind, seed=6)
    for field in fields(Scenes):
        assert not np.array_equal(getattr(first, field.name), getattr(other, field.name)), field.name


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_pictures_do_not_depend_on_how_many_follow(kind: Kind) -> None:
    _assert_equal(sample_scenes(13, kind=kind, seed=1), sample_scenes(200, kind=kind, seed=1)[:13])


def test_kinds_have_draws_of_their_own() -> None:
    single, objects = (sample_scenes(20, kind=kind, seed=0) for kind in ("single", "objects"))
    assert not np.array_equal(single.position, objects.position)


@pytest.mark.parametrize("n", [800, 801, 77])
def test_single_balances_each_attribute(n: int) -> None:
    scenes = sample_scenes(n, kind="single", seed=2)
    assert scenes.shape.shape == (n, 1)
    assert _even(scenes.shape[:, 0], len(SHAPES))
    assert _even(scenes.colour[:, 0], len(COLOURS))
    assert _even(scenes.texture[:, 0], len(TEXTURES))


def test_single_draws_attributes_independently() -> None:
    scenes = sample_scenes(6400, kind="single", seed=2)
    for first, second in (("shape", "colour"), ("shape", "texture"), ("colour", "texture")):
        table = np.zeros((8, 8))
        np.add.at(table, (getattr(scenes, first)[:, 0], getattr(scenes, second)[:, 0]), 1)
        # 100 expected in each cell with a standard deviation of about 9.
        assert table.min() > 50
        assert table.max() < 150


def test_objects_balances_shape_and_texture_together() -> None:
    scenes = sample_scenes(200, kind="objects", seed=2)
    assert _even(scenes.shape[:, 0] * len(TEXTURES) + scenes.texture[:, 0], len(SHAPES) * len(TEXTURES))
    assert set(scenes.colour[:, 0]) == set(range(len(COLOURS)))


def test_scatter_balances_the_count_and_fills_the_first_slots() -> None:
    scenes = sample_scenes(1000, kind="scatter", seed=2)
    assert scenes.shape.shape == (1000, MAX_OBJECTS)
    assert _even(scenes.count - 1, MAX_OBJECTS)
    for attribute in (scenes.shape, scenes.colour, scenes.texture):
        np.testing.assert_array_equal(attribute >= 0, np.arange(MAX_OBJECTS) < scenes.count[:, None])
    for attribute, names in ((scenes.shape, SHAPES), (scenes.colour, COLOURS), (scenes.texture, TEXTURES)):
        assert set(attribute[attribute >= 0]) == set(range(len(names)))


def test_rotations_and_lights_are_proper() -> None:
    scenes = sample_scenes(200, kind="scatter", seed=0)
    for rotation in (scenes.rotation, scenes.texture_frame):
        identity = np.matmul(rotation, rotation.swapaxes(-1, -2))
        np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-5)
        np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(scenes.light, axis=1), 1, atol=1e-5)
    assert (scenes.light[:, 2] > 0).all()


def test_indexing_takes_slices_arrays_and_masks() -> None:
    scenes = sample_scenes(10, kind="scatter", seed=0)
    assert len(scenes) == 10
    picked = np.array([7, 2, 2])
    _assert_equal(scenes[2:5], scenes[[2, 3, 4]])
    _assert_equal(scenes[np.arange(10) > 6], scenes[7:])
    for field in fields(Scenes):
        np.testing.assert_array_equal(getattr(scenes[picked], field.name), getattr(scenes, field.name)[picked])
    assert len(scenes[:0]) == 0


def test_indexing_by_one_number_is_refused() -> None:
    with pytest.raises(TypeError, match="slice or a 1-D array, not by 3"):
        sample_scenes(10, kind="single", seed=0)[3]  # type: ignore[index]


@pytest.mark.parametrize("n", [0, -2])
def test_n_below_one_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"n must be at least 1, got {n}"):
        sample_scenes(n, kind="single", seed=0)


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        sample_scenes(1, kind="single", seed=-1)


def test_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown kind 'pair'; known kinds: single, scatter, objects"):
        sample_scenes(1, kind="pair", seed=0)  # type: ignore[arg-type]


def test_import_needs_no_torch_and_no_scipy() -> None:
    code = "import sys, sslbench.datasets.world; sys.exit(bool({'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=_root()).returncode == 0


def _root() -> str:
    return __file__.rsplit("/tests/", 1)[0]
