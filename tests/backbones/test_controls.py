"""Controls: pixels and colour histogram against NumPy, and the random initialisation's seed."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from sslbench.backbones import CONTROLS, load_backbone
from sslbench.errors import BackboneError


def pictures(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(count, 64, 64, 3), dtype=np.uint8)


def test_pixels_are_block_means() -> None:
    backbone, images = load_backbone("pixels"), pictures()
    got = backbone.embed(backbone.preprocess(images)).numpy()
    expected = np.zeros((3, 3, 16, 16))
    for row in range(16):
        for column in range(16):
            block = images[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] / 255
            expected[:, :, row, column] = block.mean(axis=(1, 2))
    assert got.shape == (3, 768)
    np.testing.assert_allclose(got, expected.reshape(3, -1), atol=1e-6)


def test_the_histogram_counts_joint_colours() -> None:
    backbone, images = load_backbone("colour-histogram"), pictures()
    images[0] = (0, 255, 64)  # edges of bins: 64 is the first level of the second bin, 255 the last of the fourth
    images[1] = (63, 128, 191)
    got = backbone.embed(backbone.preprocess(images)).numpy()
    expected = np.zeros((3, 64))
    for picture, image in enumerate(images):
        for red, green, blue in image.reshape(-1, 3) // 64:
            expected[picture, 16 * int(red) + 4 * int(green) + int(blue)] += 1 / (64 * 64)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["pixels", "colour-histogram"])
def test_statistics_have_no_weights_and_no_maps(name: str) -> None:
    backbone = load_backbone(name)
    assert backbone.params == 0
    assert backbone.device == torch.device("cpu")
    with pytest.raises(BackboneError, match="no feature maps"):
        backbone.feature_maps(torch.rand(1, 3, 64, 64))
    with pytest.raises(BackboneError, match="unknown option seed"):
        load_backbone(f"{name}?seed=1")


def test_controls_differ_in_their_digests() -> None:
    assert len({load_backbone(name).digest for name in CONTROLS}) == len(CONTROLS)


def test_random_init_is_a_function_of_its_seed() -> None:
    first = load_backbone("random-init")
    torch.manual_seed(99)
    assert load_backbone("random-init?seed=0").digest == first.digest
    assert load_backbone("random-init?seed=1").digest != first.digest
    assert load_backbone("random-init:resnet10t").digest != first.digest
    assert first.details["control"] is True
    assert first.details["seed"] == 0


def test_random_init_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    load_backbone("random-init?seed=3")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert random.getstate() == states[2]


def test_random_init_takes_a_size() -> None:
    assert load_backbone("random-init").preprocessing.input_size == (64, 64)
    # An architecture that is named has its own.
    assert load_backbone("random-init:test_vit").preprocessing.input_size == (160, 160)
    backbone = load_backbone("random-init:test_vit?size=48&pooling=patch-mean")
    assert backbone.preprocessing.input_size == (48, 48)
    assert backbone.embed(torch.rand(2, 3, 48, 48)).shape == (2, 64)


@pytest.mark.parametrize("option", ["seed=x", "seed=-1", "size=1.5"])
def test_whole_numbers_are_asked_for(option: str) -> None:
    with pytest.raises(BackboneError, match=r"option (seed|size) takes a whole number"):
        load_backbone(f"random-init?{option}")


@pytest.mark.parametrize("name", CONTROLS)
def test_weights_are_frozen_and_in_evaluation_mode(name: str) -> None:
    module = load_backbone(name).network.module
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_a_preset_sets_the_size_a_transformer_is_built_for() -> None:
    backbone = load_backbone("random-init:test_vit?preprocessing=paper")
    assert backbone.preprocessing.input_size == (224, 224)
    assert backbone.embed(torch.zeros(1, 3, 224, 224)).shape[0] == 1
