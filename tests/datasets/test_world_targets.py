"""Boxes, masks, normals and depths of the rendered world, against its own instances counted by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from sslbench.datasets import Boxes, Dataset, Depths, Masks, Normals, dataset_spec, load_dataset
from sslbench.datasets.embedded import _world_sets, world_dense
from sslbench.datasets.world import CAMERA_Z, SHAPES, Annotations, World, annotate, depth_maps, render, sample_scenes
from sslbench.tasks import dataset_tasks, list_tasks

DENSE = {"world-boxes": Boxes, "world-masks": Masks, "world-normals": Normals, "world-depth": Depths}
FEW = 24


@pytest.fixture(scope="module")
def pictures() -> World:
    """The first pictures of the training split, as a shorter draw gives them too."""
    return render(sample_scenes(FEW, kind="scatter", seed=_world_sets.SEEDS["train"]))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the first pictures are annotated."""
    monkeypatch.setattr(world_dense, "annotate", lambda scenes: annotate(scenes[:FEW]))
    monkeypatch.setattr(world_dense, "depth_maps", lambda scenes: depth_maps(scenes[:FEW]))
    caches = (world_dense._annotations, world_dense._depths)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("few")
def test_boxes_are_tight_around_what_is_visible(pictures: World) -> None:
    targets = load_dataset("world-boxes").splits["train"].targets
    scenes = sample_scenes(FEW, kind="scatter", seed=1)
    for row in range(FEW):
        wanted = []
        for slot in range(6):
            ys, xs = np.nonzero(pictures.instances[row] == slot + 1)
            if len(xs):
                corners = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
                wanted.append((corners, int(scenes.shape[row, slot]), len(xs) < 64))
        found = targets.load(row)
        assert len(found) == len(wanted) == scenes.count[row]
        got = zip(found.boxes.tolist(), found.labels.tolist(), found.difficult.tolist(), strict=True)
        assert list(got) == wanted
        assert (found.boxes.dtype, found.labels.dtype, found.difficult.dtype) == (np.float32, np.int64, bool)


def test_hidden_objects_are_left_out_and_small_ones_difficult(monkeypatch: pytest.MonkeyPatch) -> None:
    instances = np.zeros((1, 64, 64), np.uint8)
    instances[0, :8, :8], instances[0, 8, :63] = 1, 3
    boxes = np.full((1, 6, 4), np.nan, np.float32)
    boxes[0, 0], boxes[0, 2] = (0, 0, 8, 8), (0, 8, 63, 9)
    found = Annotations(instances, np.zeros((1, 64, 64, 3), np.float32), boxes)
    monkeypatch.setattr(world_dense, "_annotations", lambda split: found)
    objects = load_dataset("world-boxes").splits["train"].targets.load(0)
    shape = sample_scenes(1, kind="scatter", seed=1).shape[0]
    assert objects.boxes.tolist() == [[0, 0, 8, 8], [0, 8, 63, 9]]
    assert objects.labels.tolist() == shape[[0, 2]].tolist()
    assert objects.difficult.tolist() == [False, True]


@pytest.mark.usefixtures("few")
def test_masks_agree_with_instances_and_scenes(pictures: World) -> None:
    dataset = load_dataset("world-masks")
    assert dataset.classes == ("background", *SHAPES)
    targets = dataset.splits["train"].targets
    assert targets.ignore is None
    scenes = sample_scenes(FEW, kind="scatter", seed=1)
    seen: set[int] = set()
    for row in range(FEW):
        mask, instances = targets.load(row), pictures.instances[row]
        assert (mask.dtype, mask.shape) == (np.uint8, (64, 64))
        assert ((mask == 0) == (instances == 0)).all()
        for slot in range(6):
            assert (mask[instances == slot + 1] == scenes.shape[row, slot] + 1).all()
        seen |= set(np.unique(mask).tolist())
    assert seen == set(range(9))


@pytest.mark.usefixtures("few")
def test_normals_are_of_unit_length_on_solids_and_0_elsewhere(pictures: World) -> None:
    targets = load_dataset("world-normals").splits["train"].targets
    for row in range(FEW):
        normals, inside = targets.load(row), pictures.instances[row] > 0
        assert (normals.dtype, normals.shape) == (np.float32, (64, 64, 3))
        assert np.array_equal(normals, pictures.normals[row])
        np.testing.assert_allclose(np.linalg.norm(normals[inside], axis=-1), 1, atol=1e-5)
        assert not normals[~inside].any()
        assert normals[inside][:, 2].min() >= -1e-5
    targets.load(0)[:] = 7
    assert np.array_equal(targets.load(0), pictures.normals[0])


@pytest.mark.usefixtures("few")
def test_depths_are_there_where_a_solid_is(pictures: World) -> None:
    targets = load_dataset("world-depth").splits["train"].targets
    for row in range(FEW):
        depths, inside = targets.load(row), pictures.instances[row] > 0
        assert (depths.dtype, depths.shape) == (np.float32, (64, 64))
        assert np.array_equal(depths > 0, inside)
        assert not depths[~inside].any()
    before = targets.load(0)
    targets.load(0)[:] = 7
    assert np.array_equal(targets.load(0), before)


def test_a_depth_is_that_of_the_nearest_of_all_objects(pictures: World) -> None:
    """Each object is cast alone; the nearest of them is the one that the picture shows."""
    scenes = sample_scenes(FEW, kind="scatter", seed=1)
    alone = np.full((6, FEW, 64, 64), np.inf)
    for slot in range(6):
        others = np.arange(6) != slot
        depths = depth_maps(replace(scenes, shape=np.where(others, -1, scenes.shape)))
        alone[slot] = np.where(depths > 0, depths, np.inf)
    nearest, shown = alone.min(axis=0), pictures.instances > 0
    assert np.array_equal(depth_maps(scenes), np.where(shown, nearest, 0).astype(np.float32))
    assert np.array_equal(alone.argmin(axis=0)[shown] + 1, pictures.instances[shown])


def test_a_sphere_is_as_far_away_as_it_should_be() -> None:
    scenes = sample_scenes(3, kind="single", seed=0)
    scenes = replace(scenes, shape=np.full((3, 1), SHAPES.index("sphere")))
    depths, grid = depth_maps(scenes, size=48), (2 * np.arange(48) + 1) / 48 - 1
    for row in range(3):
        (x, y, z), radius = scenes.position[row, 0].astype(float), float(scenes.size[row, 0])
        inside = radius**2 - (grid[None, :] - x) ** 2 - (-grid[:, None] - y) ** 2
        wanted = np.where(inside > 0, CAMERA_Z - z - np.sqrt(np.maximum(inside, 0)), 0)
        # At the silhouette rounding decides whether a ray hits.
        clear = np.abs(inside) > 1e-4
        np.testing.assert_allclose(depths[row][clear], wanted[clear], atol=1e-4)
        assert (depths[row] > 0).sum() > 100


def test_depths_slope_as_the_normals_say(pictures: World) -> None:
    """On a smooth surface the slope of the depth along x is x/z of the normal."""
    depths = depth_maps(sample_scenes(FEW, kind="scatter", seed=1)).astype(float)
    slope = (depths[:, :, 2:] - depths[:, :, :-2]) / (4 / 64)
    same = (pictures.instances[:, :, 2:] == pictures.instances[:, :, :-2]) & (pictures.instances[:, :, 1:-1] > 0)
    flat = same & (np.abs(pictures.normals[:, :, 2:] - pictures.normals[:, :, :-2]).max(axis=-1) < 0.02)
    facing = flat & (pictures.normals[:, :, 1:-1, 2] > 0.3)
    normals = pictures.normals[:, :, 1:-1][facing]
    assert facing.sum() > 500
    assert np.median(np.abs(slope[facing] - normals[:, 0] / normals[:, 2])) < 1e-3


def test_annotations_are_those_of_the_pictures(pictures: World) -> None:
    found = annotate(sample_scenes(FEW, kind="scatter", seed=1))
    for name in ("instances", "normals", "boxes"):
        assert np.array_equal(getattr(found, name), getattr(pictures, name), equal_nan=True), name
    with pytest.raises(ValueError, match="size must be at least 8 pixels, got 7"):
        annotate(sample_scenes(1, kind="scatter", seed=1), size=7)
    with pytest.raises(ValueError, match="size must be at least 8 pixels, got 7"):
        depth_maps(sample_scenes(1, kind="scatter", seed=1), size=7)


@pytest.mark.parametrize("name", DENSE)
def test_the_pictures_are_those_of_world_count(name: str) -> None:
    counted = load_dataset("world-count").splits
    for split, rows in load_dataset(name).splits.items():
        assert rows.images.fingerprint == counted[split].images.fingerprint
        assert len(rows.images) == len(rows.targets) == len(counted[split].images)


@pytest.mark.parametrize(("name", "targets"), DENSE.items())
def test_nothing_is_rendered_before_it_is_asked_for(name: str, targets: type, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError("rendered too early")

    monkeypatch.setattr(world_dense, "annotate", fails)
    monkeypatch.setattr(world_dense, "depth_maps", fails)
    monkeypatch.setattr(_world_sets, "render", fails)
    monkeypatch.setattr(_world_sets, "sample_scenes", fails)
    for cache in (world_dense._annotations, world_dense._depths, _world_sets._images, _world_sets.scenes_of):
        cache.cache_clear()
    spec = dataset_spec(name)
    assert (spec.targets, spec.metric) == (targets, None)
    dataset = load_dataset(name)
    assert dataset.fingerprint
    split = dataset.splits["val"].targets
    assert split.take(np.array([1, 0])).digest != split.digest
    with pytest.raises(AssertionError, match="too early"):
        split.load(0)


def fingerprints(dataset: Dataset) -> list[str]:
    return [dataset.fingerprint, *(split.targets.digest for split in dataset.splits.values())]


def test_fingerprints_come_from_the_recipe() -> None:
    # Records and caches of other machines know these; they change with RENDERER_VERSION, and with nothing of this machine.
    assert {name: load_dataset(name).fingerprint for name in DENSE} == {
        "world-boxes": "20c5286f652dd130",
        "world-masks": "554c7ea9d52b0eee",
        "world-normals": "0b4af6f54c01c4ba",
        "world-depth": "98eff56887a2984d",
    }
    everything = [text for name in DENSE for text in fingerprints(load_dataset(name))]
    assert len(set(everything)) == len(everything) == 16


def test_fingerprints_follow_the_renderer_and_what_is_difficult(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: load_dataset(name).splits["val"].targets.digest for name in DENSE}
    monkeypatch.setattr(world_dense, "DIFFICULT_BELOW", 32)
    assert load_dataset("world-boxes").splits["val"].targets.digest != before["world-boxes"]
    monkeypatch.setattr(_world_sets, "RENDERER_VERSION", "2")
    for name, digest in before.items():
        assert load_dataset(name).splits["val"].targets.digest != digest


def test_no_protocol_of_labels_takes_them() -> None:
    suite = list_tasks(suite_name="embedded")
    assert [task for task in suite if any(name in task for name in DENSE)] == [
        "detection/world-boxes/finetune",
        "detection/world-boxes/frozen",
        "normals/world-normals",
        "normals/world-normals/linear",
        "occlusion/world-masks/recipe=quick",
        "segmentation/world-masks",
        "segmentation/world-masks/linear",
    ]
    for name in DENSE:
        assert not {task.protocol for task in dataset_tasks(name)} & {"linear", "knn", "fewshot"}
