"""Decoded pictures are kept for the next backbone: whole, checked, bounded, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from sslbench.backbones import load_backbone
from sslbench.backbones.backbone import Backbone
from sslbench.config import Settings
from sslbench.datasets import ImageArray, ImageFiles
from sslbench.datasets.families._folder_reading import load_folder
from sslbench.errors import CacheWarning, DataError, FeatureError
from sslbench.features import loading
from sslbench.features.batches import picture_recipe, read_batches
from sslbench.features.cache import FeatureCache, recipe_key
from sslbench.features.device_store import FeatureStore
from sslbench.features.extract import extract_features, feature_recipe
from sslbench.features.pictures import Pictures

MakeBackbone = Callable[..., Backbone]


def files_source(root: Path, count: int = 10, bad: tuple[int, ...] = ()) -> ImageFiles:
    """JPEG and, every third, PNG files; `bad` ones are no images and skipped."""
    paths = []
    for row in range(count):
        path = root / f"{row}.{'png' if row % 3 == 2 else 'jpg'}"
        small = np.random.default_rng(row).integers(0, 256, size=(5, 5, 3), dtype=np.uint8)
        Image.fromarray(small).resize((24 + row, 20)).save(path)
        if row in bad:
            path.write_bytes(b"no image")
        paths.append(path)
    return ImageFiles(f"files:{count}:{bad}", paths, "skip")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that were decoded, in whatever order."""
    rows: list[int] = []
    real = loading.FileLoader._one

    def one(self: loading.FileLoader, row: int, out: np.ndarray) -> bool:
        rows.append(row)
        return real(self, row, out)

    monkeypatch.setattr(loading.FileLoader, "_one", one)
    return rows


def test_a_second_backbone_decodes_nothing(tmp_path: Path, make_backbone: MakeBackbone, decoded: list[int]) -> None:
    source = files_source(tmp_path, bad=(4,))
    store = FeatureStore(Settings(cache_dir=tmp_path / "cache", device="cpu", batch_size=4))
    store.get(make_backbone(seed=0), source)
    assert sorted(decoded) == list(range(10))
    second = store.get(make_backbone(seed=1), source)
    assert sorted(decoded) == list(range(10))
    expected = extract_features(make_backbone(seed=1), source)
    np.testing.assert_array_equal(second.x, expected["x"])
    assert second.rows.tolist() == expected["rows"].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    # Another geometry has other pictures, another normalisation has not.
    other = make_backbone(seed=2)
    other.preprocessing = replace(other.preprocessing, mean=(0.5, 0.5, 0.5))
    decoded.clear()
    store.get(other, source)
    assert not decoded
    other.preprocessing = replace(other.preprocessing, interpolation="bilinear")
    store.get(other, source)
    assert len(decoded) == 10


def test_fast_pixels_are_within_two_levels_of_exact_ones_and_exact_is_pil(tmp_path: Path) -> None:
    source = files_source(tmp_path)
    preprocessing = load_backbone("random-init?size=16").preprocessing
    fast, exact = (next(read_batches(source, preprocessing, 10, how)).pixels.numpy() for how in ("fast", "exact"))
    np.testing.assert_array_equal(exact, preprocessing.pixels(source.load(range(0, 10))))
    difference = np.abs(fast.astype(int) - exact)
    assert difference.max() <= 2
    # PNG goes through PIL.
    assert not difference[2::3].any()


def test_the_key_names_the_input_only_where_it_can_differ(tmp_path: Path, make_backbone: MakeBackbone) -> None:
    source, backbone = files_source(tmp_path), make_backbone()
    assert feature_recipe(backbone, source, "float32")["input"] == "decode_jpeg-v2"
    assert "input" not in feature_recipe(backbone, source, "float32", extraction="exact")
    prepared = replace(source, prepare=lambda image: image.crop((0, 0, 9, 9)))
    assert "input" not in feature_recipe(backbone, prepared, "float32")
    array = ImageArray("array", np.zeros((1, 4, 4, 3), dtype=np.uint8))
    assert "input" not in feature_recipe(backbone, array, "float32")
    backbone.preprocessing = replace(backbone.preprocessing, interpolation="lanczos")
    assert "input" not in feature_recipe(backbone, source, "float32")


def test_a_folder_is_read_from_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files_source(tmp_path / name, 5)
    source = load_folder(f"folder:{tmp_path}", Settings(data_dir=tmp_path)).splits["train"].images
    assert isinstance(source, ImageFiles)
    assert len(source.paths) == len(source)
    first = np.asarray(source.load(range(0, 1))[0])
    np.testing.assert_array_equal(first, np.asarray(Image.open(source.paths[0]).convert("RGB")))


def run(source: ImageFiles, pictures: Pictures, backbone: Backbone) -> np.ndarray:
    return extract_features(backbone, source, batch_size=4, pictures=pictures)["x"]


def test_a_damaged_picture_is_decoded_again(tmp_path: Path, make_backbone: MakeBackbone, decoded: list[int]) -> None:
    source, pictures = files_source(tmp_path), Pictures(tmp_path / "p", 1 << 20)
    expected = run(source, pictures, make_backbone())
    (path,) = pictures.root.glob("*.npy")
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    decoded.clear()
    with pytest.warns(
        CacheWarning, match=r"damaged picture file .*: the checksum of picture 9 does not match; decoding"
    ):
        again = run(source, pictures, make_backbone())
    np.testing.assert_array_equal(again, expected)
    assert decoded == [9]
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", None])
def test_a_truncated_file_is_decoded_again(content: bytes | None, tmp_path: Path, make_backbone: MakeBackbone) -> None:
    source, pictures = files_source(tmp_path), Pictures(tmp_path / "p", 1 << 20)
    expected = run(source, pictures, make_backbone())
    (path,) = pictures.root.glob("*.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[:-50] if content is None else content)
    with pytest.warns(CacheWarning, match="damaged picture file"):
        np.testing.assert_array_equal(run(source, pictures, make_backbone()), expected)
    assert path.read_bytes() == whole


def test_an_error_leaves_no_file_and_names_the_picture(tmp_path: Path, make_backbone: MakeBackbone) -> None:
    source, pictures = files_source(tmp_path, bad=(7,)), Pictures(tmp_path / "p", 1 << 20)
    strict = replace(source, bad_images="fail")
    with pytest.raises(DataError, match=r"cannot read the image .*7\.jpg"):
        run(strict, pictures, make_backbone())
    assert not list(pictures.root.glob("*.npy*"))


def test_a_failure_of_the_network_leaves_no_file(tmp_path: Path, make_backbone: MakeBackbone) -> None:
    source, pictures = files_source(tmp_path), Pictures(tmp_path / "p", 1 << 20)
    backbone = make_backbone()
    backbone.network.module[0].weight.fill_(float("nan"))
    with pytest.raises(FeatureError, match="image 0 of"):
        run(source, pictures, backbone)
    assert not list(pictures.root.glob("*.npy*"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupt_leaves_no_file(
    error: type[BaseException], tmp_path: Path, make_backbone: MakeBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, pictures, backbone = files_source(tmp_path), Pictures(tmp_path / "p", 1 << 20), make_backbone()
    real = backbone.network.embed

    def embed(images: object) -> object:
        if len(backbone.network.batches) == 2:
            raise error
        return real(images)

    monkeypatch.setattr(backbone.network, "embed", embed)
    with pytest.raises(error):
        run(source, pictures, backbone)
    assert not list(pictures.root.glob("*.npy*"))


def test_what_another_process_writes_is_decoded_without_waiting(tmp_path: Path, make_backbone: MakeBackbone) -> None:
    source, pictures = files_source(tmp_path), Pictures(tmp_path / "p", 1 << 20)
    pictures.root.mkdir()
    path = pictures.path(picture_recipe(source, make_backbone().preprocessing, "fast"))
    with FileLock(path.with_suffix(".lock")):
        run(source, pictures, make_backbone())
    assert not path.exists()
    run(source, pictures, make_backbone())
    assert path.exists()


def test_the_least_recently_used_leave_first(tmp_path: Path, make_backbone: MakeBackbone) -> None:
    sources = []
    for name in "abc":
        (tmp_path / name).mkdir()
        sources.append(replace(files_source(tmp_path / name), fingerprint=name))
    each = 10 * (16 * 16 * 3 + 5) + 128
    pictures, backbone = Pictures(tmp_path / "p", 2 * each + 50), make_backbone()
    places = [pictures.path(picture_recipe(source, backbone.preprocessing, "fast")) for source in sources]
    run(sources[0], pictures, backbone)
    run(sources[1], pictures, backbone)
    # Times of files are coarse on some systems.
    os.utime(places[0], (1000, 1000))
    os.utime(places[1], (2000, 2000))
    run(sources[0], pictures, backbone)
    run(sources[2], pictures, backbone)
    assert [place.exists() for place in places] == [True, False, True]
    small = Pictures(tmp_path / "q", each - 200)
    run(sources[0], small, backbone)
    assert not list((tmp_path / "q").glob("*.npy"))
    none = Pictures(tmp_path / "r", 0)
    run(sources[0], none, backbone)
    assert not (tmp_path / "r").exists()


def test_a_full_disk_is_told_and_the_run_goes_on(
    tmp_path: Path, make_backbone: MakeBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, pictures = files_source(tmp_path), Pictures(tmp_path / "p", 1 << 20)
    expected = run(source, Pictures(tmp_path / "r", 0), make_backbone())
    monkeypatch.setattr("sslbench.features.pictures._records_bytes", fail_with_full_disk)
    with pytest.warns(CacheWarning, match="pictures are not kept for the next backbone: no space left"):
        np.testing.assert_array_equal(run(source, pictures, make_backbone()), expected)
    assert not list(pictures.root.glob("*.npy*"))


def fail_with_full_disk(*_arguments: object) -> bytes:
    raise OSError("no space left")


def test_prune_removes_pictures_with_everything(tmp_path: Path, make_backbone: MakeBackbone) -> None:
    source, cache = files_source(tmp_path), FeatureCache(tmp_path)
    run(source, Pictures(cache.pictures, 1 << 20), make_backbone())
    (path,) = cache.pictures.glob("*.npy")
    assert cache.prune() == []
    assert cache.prune(everything=True) == [path]


def test_recipes_of_pictures_differ_by_geometry_input_and_source(tmp_path: Path) -> None:
    source = files_source(tmp_path)
    base = load_backbone("random-init?size=16").preprocessing
    recipes = [
        picture_recipe(source, base, "fast"), picture_recipe(source, base, "exact"),
        picture_recipe(source, replace(base, resize=18), "fast"),
        picture_recipe(source, replace(base, input_size=(12, 16)), "fast"),
        picture_recipe(replace(source, fingerprint="other"), base, "fast"),
    ]  # fmt: skip
    assert len({recipe_key(recipe) for recipe in recipes}) == len(recipes)
    assert picture_recipe(source, replace(base, std=(1.0, 1.0, 1.0)), "fast") == recipes[0]
