"""Preprocessing against torchvision's and timm's transforms, value for value."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms.functional import InterpolationMode

from sslbench.backbones import load_backbone
from sslbench.backbones.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    from_timm,
    presets,
)
from sslbench.errors import BackboneError, UnknownNameError
from sslbench.protocols.fewshot import official_geometry

# (width, height): portrait, landscape, square, odd, smaller than the target, and with a side that fits already.
SIZES = [(333, 500), (501, 375), (300, 300), (97, 41), (31, 55), (224, 317), (225, 224), (224, 224), (1, 9)]


def picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8))


def apply(preprocessing: Preprocessing, image: Image.Image) -> torch.Tensor:
    return preprocessing.normalise(torch.from_numpy(np.array(preprocessing.pixels([image]))))[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("resize", "crop"), [(224, 224), (256, 224), (73, 64)])
def test_equals_torchvision(size: tuple[int, int], resize: int, crop: int) -> None:
    reference = T.Compose(
        [
            T.Resize(resize, InterpolationMode.BICUBIC, antialias=True),
            T.CenterCrop(crop),
            T.ToTensor(),
            T.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    image = picture(*size)
    got = apply(Preprocessing(input_size=(crop, crop), resize=resize), image)
    assert got.shape == (3, crop, crop)
    assert torch.equal(got, reference(image))


@pytest.mark.parametrize("name", ["bilinear", "nearest", "lanczos"])
def test_other_interpolations_equal_torchvision(name: str) -> None:
    reference = T.Compose([T.Resize(64, InterpolationMode(name), antialias=True), T.CenterCrop(64), T.ToTensor()])
    preprocessing = Preprocessing((64, 64), 64, name, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert torch.equal(apply(preprocessing, picture(97, 41)), reference(picture(97, 41)))


def test_stretching_equals_torchvision() -> None:
    reference = T.Compose([T.Resize((48, 64), InterpolationMode.BICUBIC, antialias=True), T.ToTensor()])
    preprocessing = Preprocessing((48, 64), None, "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert torch.equal(apply(preprocessing, picture(97, 41)), reference(picture(97, 41)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preset", ["paper", "paper-nonorm"])
def test_the_official_few_shot_geometry_equals_torchvision(size: tuple[int, int], preset: str) -> None:
    base = presets()[preset]
    reference = T.Compose(
        [
            T.Resize((257, 257), InterpolationMode.BILINEAR, antialias=True),
            T.CenterCrop(224),
            T.ToTensor(),
            T.Normalize(base.mean, base.std),
        ]
    )
    got = official_geometry(base)
    assert (got.input_size, got.resize, got.interpolation) == ((224, 224), (257, 257), "bilinear")
    assert torch.equal(apply(got, picture(*size)), reference(picture(*size)))


def test_the_official_few_shot_geometry_follows_the_input_size() -> None:
    reference = T.Compose([T.Resize((55, 73), InterpolationMode.BILINEAR, antialias=True), T.CenterCrop((48, 64))])
    got = official_geometry(Preprocessing((48, 64), None, "bicubic", (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)))
    assert (got.resize, got.mean, got.std) == ((55, 73), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    np.testing.assert_array_equal(got.pixels([picture(97, 41)])[0], np.asarray(reference(picture(97, 41))))
    arrays = np.stack([np.asarray(picture(64, 48))] * 2)
    np.testing.assert_array_equal(got.pixels(arrays)[1], np.asarray(reference(picture(64, 48))))


@pytest.mark.parametrize(
    "arch", ["resnet50.a1_in1k", "test_resnet.r160_in1k", "vit_base_patch16_224.dino", "test_vit2.r160_in1k"]
)
def test_from_timm_equals_timms_own_transform(arch: str) -> None:
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(arch).to_dict())
    transform = timm.data.create_transform(**config)
    for size in SIZES:
        got = apply(from_timm(config), picture(*size))
        torch.testing.assert_close(got, transform(picture(*size)), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("crop_pct", "resize"), [(0.875, 256), (1.0, 224), (0.95, 235), (0.9, 248)])
def test_from_timm_turns_the_crop_fraction_into_a_resize(crop_pct: float, resize: int) -> None:
    config = {
        "input_size": (3, 224, 224), "crop_pct": crop_pct, "interpolation": "bicubic", "mean": (0.1, 0.2, 0.3),
        "std": (1, 2, 3), "crop_mode": "center",
    }  # fmt: skip
    got = from_timm(config)
    assert (got.input_size, got.resize, got.mean) == ((224, 224), resize, (0.1, 0.2, 0.3))
    squash = {**config, "crop_mode": "squash"}
    if crop_pct == 1.0:
        assert from_timm(squash).resize is None
    else:
        # timm stretches to a larger square and crops it; stretching to the input size would be something else.
        with pytest.raises(BackboneError, match="crop_mode 'squash'"):
            from_timm(squash)
    taken_whole = from_timm(config, 64)
    assert (taken_whole.input_size, taken_whole.resize) == ((64, 64), 64)
    with pytest.raises(BackboneError, match=r"crop_mode 'border' \(crop_pct .*\) is not supported"):
        from_timm({**config, "crop_mode": "border"})


def test_arrays_and_pictures_give_the_same_pixels() -> None:
    arrays = np.random.default_rng(0).integers(0, 256, size=(3, 40, 50, 3), dtype=np.uint8)
    preprocessing = Preprocessing(input_size=(32, 32), resize=36)
    pictures = [Image.fromarray(array) for array in arrays]
    np.testing.assert_array_equal(preprocessing.pixels(arrays), preprocessing.pixels(pictures))


def test_arrays_of_the_right_size_pass_as_they_are() -> None:
    arrays = np.random.default_rng(0).integers(0, 256, size=(3, 32, 32, 3), dtype=np.uint8)
    assert Preprocessing(input_size=(32, 32), resize=32).pixels(arrays) is arrays
    assert Preprocessing(input_size=(32, 32), resize=None).pixels(arrays) is arrays
    cropped = Preprocessing(input_size=(32, 32), resize=36).pixels(arrays)
    assert not np.array_equal(cropped, arrays)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(BackboneError, match="unknown interpolation 'cubic'; known: nearest"):
        Preprocessing(interpolation="cubic")
    with pytest.raises(BackboneError, match="at most resize 200"):
        Preprocessing(input_size=(224, 224), resize=200)
    with pytest.raises(BackboneError, match="must be positive"):
        Preprocessing(input_size=(0, 10))
    with pytest.raises(BackboneError, match=r"at most resize \(300, 200\)"):
        Preprocessing(input_size=(224, 224), resize=(300, 200))


def test_presets_of_the_study() -> None:
    paper = load_backbone("random-init?preprocessing=paper").preprocessing
    assert (paper.input_size, paper.resize, paper.interpolation) == ((224, 224), 224, "bicubic")
    assert (paper.mean, paper.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert presets()["paper-nonorm"].mean == (0.0, 0.0, 0.0)
    with pytest.raises(UnknownNameError, match="unknown preprocessing preset 'papr'; nearest: paper"):
        load_backbone("random-init?preprocessing=papr")


def test_bgr_turns_the_channels_round_after_they_are_normalised() -> None:
    settings = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    plain, turned = Preprocessing(**settings), Preprocessing(**settings, bgr=True)
    assert torch.equal(apply(turned, picture(97, 41)), apply(plain, picture(97, 41))[[2, 1, 0]])
    # Keys of features that were made before the setting came.
    assert set(plain.to_json()) == {"input_size", "resize", "interpolation", "mean", "std"}
    assert turned.to_json() == {**plain.to_json(), "bgr": True}


def test_to_json_tells_every_setting() -> None:
    base = Preprocessing()
    others = [
        Preprocessing(input_size=(200, 224)), Preprocessing(resize=256), Preprocessing(resize=None),
        Preprocessing(resize=(224, 224)),
        Preprocessing(interpolation="bilinear"), Preprocessing(mean=(0, 0, 0)), Preprocessing(std=(1, 1, 1)),
    ]  # fmt: skip
    texts = {str(sorted(preprocessing.to_json().items())) for preprocessing in [base, *others]}
    assert len(texts) == 8
    assert json.loads(json.dumps(others[3].to_json())) == others[3].to_json()


def natural(width: int, height: int) -> Image.Image:
    """Edges and gradients with a little noise."""
    rng = np.random.default_rng(width * 1000 + height)
    coarse = Image.fromarray(rng.integers(0, 256, size=(6, 8, 3), dtype=np.uint8)).resize((width, height))
    noise = rng.normal(0, 4, size=(height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("make", [picture, natural])
@pytest.mark.parametrize("size", [*SIZES, (1200, 900), (640, 48)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resize", "crop"), [(224, 224), (256, 224), (73, 64)])
def test_tensors_are_within_two_levels_of_pil(
    make: object, size: tuple[int, int], interpolation: str, resize: int, crop: int
) -> None:
    preprocessing = Preprocessing((crop, crop), resize, interpolation)
    image = make(*size)
    expected = np.asarray(preprocessing.geometry(image)).astype(int)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    got = preprocessing.tensor_geometry(tensor).permute(1, 2, 0).numpy().astype(int)
    assert got.shape == expected.shape
    difference = np.abs(got - expected)
    assert difference.max() <= 2
    assert difference.mean() < 0.05


def test_other_interpolations_and_stretching_are_left_to_pil() -> None:
    assert [Preprocessing(resize=resize).on_tensors for resize in (224, None, (257, 257))] == [True, False, False]
    assert [Preprocessing(interpolation=name).on_tensors for name in ("bilinear", "bicubic")] == [True, True]
    assert [Preprocessing(interpolation=name).on_tensors for name in ("nearest", "lanczos")] == [False, False]
