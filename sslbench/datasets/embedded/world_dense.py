"""Boxes, masks, normals and depths of the rendered world, on the pictures of `world-count`."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from sslbench.config import Settings
from sslbench.datasets.dataset import Dataset, DatasetSpec
from sslbench.datasets.embedded._world_sets import LICENCE, SEEDS, SIZES, SOURCE, recipe, scenes_of, world_dataset
from sslbench.datasets.targets import Boxes, DeferredObjects, Depths, Masks, Normals, Objects
from sslbench.datasets.world import CAMERA_Z, SHAPES, Annotations, annotate, depth_maps

# An object with fewer visible pixels than an 8 x 8 patch, 1/64 of the picture, is marked difficult: that is less than one
# cell of a network's map at stride 8. Every object shows 40 pixels or more, and 1 in 39 is difficult.
DIFFICULT_BELOW = 64


@lru_cache(maxsize=3)
def _annotations(split: str) -> Annotations:
    return annotate(scenes_of("scatter", split))


@lru_cache(maxsize=3)
def _depths(split: str) -> npt.NDArray[np.float32]:
    return depth_maps(scenes_of("scatter", split))


def _objects(split: str, row: int) -> Objects:
    found, shape = _annotations(split), scenes_of("scatter", split).shape[row]
    visible = np.bincount(found.instances[row].ravel(), minlength=len(shape) + 1)[1:]
    seen = np.flatnonzero(visible)
    return Objects(found.boxes[row, seen], shape[seen].astype(np.int64), visible[seen] < DIFFICULT_BELOW)


def _mask(split: str, row: int) -> npt.NDArray[np.uint8]:
    # An empty slot has shape -1 and no pixels, so that what it is called here does not matter.
    classes = np.concatenate([[0], scenes_of("scatter", split).shape[row] + 1]).astype(np.uint8)
    mask: npt.NDArray[np.uint8] = classes[_annotations(split).instances[row]]
    return mask


def _normal(split: str, row: int) -> npt.NDArray[np.float32]:
    # A copy, so that whoever writes to it spoils nothing.
    normals: npt.NDArray[np.float32] = _annotations(split).normals[row].copy()
    return normals


def _depth(split: str, row: int) -> npt.NDArray[np.float32]:
    depths: npt.NDArray[np.float32] = _depths(split)[row].copy()
    return depths


def _rows(split: str) -> npt.NDArray[np.int64]:
    return np.arange(SIZES["scatter"][split])


def world_boxes(settings: Settings) -> Dataset:
    """Which solids are where: a box tight around the visible pixels of each, one to six a picture.

    Objects of which nothing is visible are left out; those with fewer than 64 visible pixels are difficult.
    """
    targets = {
        split: Boxes(
            DeferredObjects(
                partial(_objects, split), f"{recipe('scatter', split)}:boxes:{DIFFICULT_BELOW}", _rows(split)
            )
        )
        for split in SEEDS
    }
    dataset = world_dataset("world-boxes", "scatter", SHAPES, targets, metric=None)
    return replace(dataset, recipes={"detection": "small"})


def world_masks(settings: Settings) -> Dataset:
    """Which solid does each pixel show; the background is a class like the others, and no pixel is ignored."""
    targets = {
        split: Masks(partial(_mask, split), f"{recipe('scatter', split)}:masks", _rows(split)) for split in SEEDS
    }
    dataset = world_dataset("world-masks", "scatter", ("background", *SHAPES), targets, metric=None)
    return replace(dataset, recipes={"segmentation": "small"})


def world_normals(settings: Settings) -> Dataset:
    """Which way does the surface face at each pixel: x right, y up, z towards the camera.

    The background is painted and has no surface. Its normal is 0, and an evaluation leaves such pixels out, like those
    for which a depth sensor has no reading.
    """
    targets = {
        split: Normals(partial(_normal, split), f"{recipe('scatter', split)}:normals", _rows(split)) for split in SEEDS
    }
    dataset = world_dataset("world-normals", "scatter", (), targets, metric=None)
    return replace(dataset, recipes={"normals": "small"})


def world_depth(settings: Settings) -> Dataset:
    """How far away is the surface at each pixel, in units of the scene, of which the picture is 2 wide.

    The camera is a plane and its rays are parallel, so that size in the picture says nothing of depth: shading and what hides
    what do. The background has no surface; its depth is 0, and an evaluation leaves such pixels out.
    """
    targets = {
        split: Depths(partial(_depth, split), f"{recipe('scatter', split)}:depth:{CAMERA_Z}", _rows(split))
        for split in SEEDS
    }
    return world_dataset("world-depth", "scatter", (), targets, metric=None)


SPECS = [
    DatasetSpec(
        "world-boxes", f"{__name__}:world_boxes", len(SHAPES), "which solids are where, one to six a picture",
        LICENCE, SOURCE, metric=None, targets=Boxes,
    ),
    DatasetSpec(
        "world-masks", f"{__name__}:world_masks", len(SHAPES) + 1, "which solid, or the background, each pixel shows",
        LICENCE, SOURCE, metric=None, targets=Masks,
    ),
    DatasetSpec(
        "world-normals", f"{__name__}:world_normals", 0, "which way the surface faces at each pixel",
        LICENCE, SOURCE, metric=None, targets=Normals,
    ),
    DatasetSpec(
        "world-depth", f"{__name__}:world_depth", 0, "how far away the surface is at each pixel",
        LICENCE, SOURCE, metric=None, targets=Depths,
    ),
]  # fmt: skip
