"""Pictures and their annotations."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from sslbench.datasets.world import RENDERER_VERSION, TEXTURES, World, render, sample_scenes
from sslbench.datasets.world.render import CHUNK_PIXELS
from sslbench.datasets.world.textures import PATTERNS
from sslbench.datasets.world.vocabulary import KINDS, Kind


@pytest.fixture(scope="module")
def scattered() -> World:
    return render(sample_scenes(120, kind="scatter", seed=3))


def _assert_equal(first: World, second: World) -> None:
    for field in fields(World):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), err_msg=field.name)


@pytest.mark.parametrize(("kind", "slots"), [("single", 1), ("objects", 1), ("scatter", 6)])
def test_arrays_have_the_stated_form(kind: Kind, slots: int) -> None:
    world = render(sample_scenes(5, kind=kind, seed=0), size=40)
    arrays = {field.name: getattr(world, field.name) for field in fields(World)}
    forms = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
    assert forms == {
        "images": ("uint8", (5, 40, 40, 3)),
        "instances": ("uint8", (5, 40, 40)),
        "normals": ("float32", (5, 40, 40, 3)),
        "boxes": ("float32", (5, slots, 4)),
    }


def test_normals_are_unit_and_face_the_camera_and_vanish_on_the_background(scattered: World) -> None:
    covered = scattered.instances > 0
    np.testing.assert_allclose(np.linalg.norm(scattered.normals[covered], axis=1), 1, atol=1e-5)
    assert (scattered.normals[covered][:, 2] >= 0).all()
    assert (scattered.normals[~covered] == 0).all()


def test_boxes_are_tight_around_the_visible_pixels(scattered: World) -> None:
    for picture, boxes in zip(scattered.instances, scattered.boxes, strict=True):
        for slot, box in enumerate(boxes):
            rows, columns = np.nonzero(picture == slot + 1)
            if len(rows):
                assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            else:
                assert np.isnan(box).all()


@pytest.mark.parametrize("kind", KINDS)
def test_rendering_repeats_exactly_and_does_not_depend_on_the_chunk(kind: Kind) -> None:
    scenes = sample_scenes(150, kind=kind, seed=4)
    assert len(scenes) > CHUNK_PIXELS // 64**2
    whole = render(scenes)
    _assert_equal(whole, render(scenes))
    for chunk in (slice(0, 1), slice(17, 40), np.array([140, 3, 77])):
        part = World(**{field.name: getattr(whole, field.name)[chunk] for field in fields(World)})
        _assert_equal(part, render(scenes[chunk]))


def test_every_scattered_object_is_visible() -> None:
    scenes = sample_scenes(2000, kind="scatter", seed=0)
    smallest = 64**2
    for start in range(0, 2000, 500):
        chunk = scenes[start : start + 500]
        instances = render(chunk).instances.reshape(500, -1)
        pixels = np.stack([np.count_nonzero(instances == slot + 1, axis=1) for slot in range(6)], axis=1)
        assert (pixels[chunk.shape < 0] == 0).all()
        smallest = min(smallest, int(pixels[chunk.shape >= 0].min()))
    assert smallest >= 25


def test_a_single_object_fills_a_good_part_of_the_picture() -> None:
    covered = (render(sample_scenes(400, kind="single", seed=0)).instances > 0).mean(axis=(1, 2))
    assert covered.min() > 0.1
    assert covered.max() < 0.6


def test_a_finer_picture_shows_the_same_scene() -> None:
    scenes = sample_scenes(40, kind="single", seed=0)
    coarse, fine = render(scenes, size=32), render(scenes, size=96)
    # The centre of every coarse pixel is the centre of the middle one of nine fine pixels.
    agreement = coarse.instances == fine.instances[:, 1::3, 1::3]
    assert agreement.mean() > 0.999
    seen = agreement & (coarse.instances > 0)
    turn = np.abs(coarse.normals - fine.normals[:, 1::3, 1::3]).max(axis=-1)[seen]
    assert np.mean(turn < 1e-2) > 0.999


def test_the_lit_side_is_brighter() -> None:
    scenes = sample_scenes(64, kind="single", seed=1)
    plain = replace(scenes, texture=np.zeros_like(scenes.texture))
    world = render(plain)
    for picture in range(64):
        facing = world.normals[picture] @ scenes.light[picture]
        covered = world.instances[picture] > 0
        grey = world.images[picture].mean(axis=-1)
        lit, dark = covered & (facing > 0.8), covered & (facing < 0.3)
        if lit.sum() > 20 and dark.sum() > 20:
            assert grey[lit].mean() > 1.3 * grey[dark].mean()


@pytest.mark.parametrize("name", TEXTURES)
def test_textures_leave_the_mean_tone_alone(name: str) -> None:
    points = np.random.default_rng(0).uniform(-5, 5, (3, 200_000)).astype(np.float32)
    values = PATTERNS[name](points)
    assert abs(values.mean()) < 0.25
    assert np.abs(values).max() <= 1.2
    assert (values.std() > 0.6) == (name != "plain")


@pytest.mark.parametrize("size", [7, 0, -64])
def test_tiny_pictures_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size must be at least 8 pixels, got {size}"):
        render(sample_scenes(1, kind="single", seed=0), size=size)


def test_no_scenes_give_empty_arrays() -> None:
    world = render(sample_scenes(1, kind="single", seed=0)[:0])
    assert world.images.shape == (0, 64, 64, 3)
    assert world.boxes.shape == (0, 1, 4)


@pytest.mark.parametrize(
    ("kind", "shapes", "colour"),
    [
        ("single", [6, 4, 2, 7, 5, 1, 3, 0], (87.15, 75.43, 82.23)),
        ("objects", [5, 7, 7, 0, 3, 7, 3, 7], (81.11, 89.48, 82.97)),
        ("scatter", [7, 7, 6, 7, 6, 6, 4, 6], (87.22, 83.20, 85.34)),
    ],
)
def test_version_1_draws_and_pictures(kind: Kind, shapes: list[int], colour: tuple[float, ...]) -> None:
    """Whoever changes one of these numbers changes the benchmark, and bumps the version with it."""
    assert RENDERER_VERSION == "1"
    scenes = sample_scenes(64, kind=kind, seed=0)
    assert scenes.shape[:8].max(axis=1).tolist() == shapes
    np.testing.assert_allclose(render(scenes).images.mean(axis=(0, 1, 2)), colour, atol=0.02)
