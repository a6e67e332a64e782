"""Colours that any eyes tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from sslbench.results.gallery_colours import (
    STRIPES,
    class_colours,
    differences,
    mask_picture,
    normal_picture,
    ramp_picture,
    seen,
    striped,
)


def least(colours: np.ndarray) -> float:
    """The least difference of two of the colours, with or without all cones."""
    places = seen(colours)
    return min(float(differences(places[:, i + 1 :], places[:, i, None]).min()) for i in range(len(colours) - 1))


def test_classes_differ_for_all_eyes():
    colours = class_colours()
    assert colours.shape == (254, 3) and len(np.unique(colours, axis=0)) == 254
    # About .02 is a just noticeable difference of large areas; black and white are 1 apart.
    assert least(colours[:20]) > 0.07 and least(colours[:40]) > 0.045 and least(colours[:150]) > 0.02
    assert least(np.concatenate([colours[:20], np.array(STRIPES)])) > 0.05
    assert least(np.array([[0, 0, 0], [255, 255, 255]])) == pytest.approx(1, abs=1e-3)


def test_red_and_green_of_equal_lightness_are_one_without_a_kind_of_cones():
    pair = seen(np.array([[187, 93, 60], [129, 117, 62]]))
    apart = np.sqrt(((pair[:, 0] - pair[:, 1]) ** 2).sum(axis=-1))
    assert 2 * apart[1:3].max() < apart[0] < apart[3]


def test_a_grey_is_a_grey_for_all_eyes():
    for lightness, chroma in ((grey[0], grey[1:]) for vision in seen(np.array([[119, 119, 119]])) for grey in vision):
        assert lightness == pytest.approx(0.568, abs=0.005) and abs(chroma).max() < 0.005


def test_a_class_has_its_colour_whatever_else_is_shown():
    labels = np.array([[0, 3], [253, 254]], np.uint8)
    picture, colours = mask_picture(labels), class_colours()
    np.testing.assert_array_equal(picture, [[colours[0], colours[3]], [colours[253], colours[0]]])
    assert colours[0].tolist() == [230, 159, 0]


def test_the_ramp_falls_in_even_steps_for_all_eyes():
    lightness = seen(ramp_picture(np.linspace(2, 10, 33), 2, 10))[..., 0]
    steps = np.diff(lightness, axis=1)
    assert (steps < 0).all() and steps.std() / -steps.mean() < 0.25
    ends = ramp_picture(np.array([-1.0, 2.0, 10.0, 99.0]), 2, 10)
    assert (ends[0] == ends[1]).all() and (ends[2] == ends[3]).all()
    assert ramp_picture(np.array([3.0]), 3, 3).shape == (1, 3)


def test_normals_are_halved_and_moved():
    normals = np.array([[[127, 0, 0], [0, -127, 0], [0, 0, 127]]], np.int8)
    assert normal_picture(normals).tolist() == [[[255, 128, 128], [128, 1, 128], [128, 128, 255]]]


def test_what_does_not_count_is_striped():
    counted = np.zeros((8, 8), bool)
    counted[:, :4] = True
    picture = striped(np.full((8, 8, 3), 7, np.uint8), counted)
    assert (picture[:, :4] == 7).all()
    assert {tuple(pixel) for pixel in picture[:, 4:].reshape(-1, 3).tolist()} == set(STRIPES)
