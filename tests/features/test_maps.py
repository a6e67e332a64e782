"""Feature maps on disk: what is kept, how it is read, and what stops it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from sslbench.backbones import Backbone
from sslbench.backbones.module_network import ModuleNetwork
from sslbench.backbones.preprocessing import Preprocessing
from sslbench.config import Settings
from sslbench.datasets import ImageArray, ImageFiles, Images
from sslbench.errors import BackboneError, CacheError, CacheWarning, DataError, FeatureError
from sslbench.features import streamed
from sslbench.features.cache import FeatureCache, read
from sslbench.features.device_store import FeatureStore
from sslbench.features.maps import Maps
from sslbench.features.streamed import Rows, RowWriter

SIZE = 16


class TwoMaps(nn.Module):
    """Maps (4, 8, 8) and (6, 2, 2) of pictures of 16 pixels; counts the pictures it sees."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fine, self.coarse = nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 6, 4, 4)
        self.seen: list[int] = []

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        self.seen.append(len(images))
        fine = self.fine(images)
        return [fine, self.coarse(fine)]

    def forward(self, images: Tensor) -> Tensor:
        return self.feature_maps(images)[1].mean(dim=(2, 3))


def backbone(module: nn.Module | None = None) -> Backbone:
    shown = Preprocessing((SIZE, SIZE), None, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Backbone("two", ModuleNetwork(module or TwoMaps()), shown, "test:two")


def pixels(count: int = 70) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def taken(folder: Path, own: Backbone, images: Images, most: int = 32, **settings: Any) -> Maps:
    store = FeatureStore(Settings(cache_dir=folder, device="cpu", **settings))
    return store.maps(own, images, most, digest=own.digest)


def test_maps_are_the_networks_and_are_taken_once(tmp_path: Path) -> None:
    own, data = backbone(), pixels()
    found = taken(tmp_path, own, ImageArray("some", data))
    assert found.levels == ((4, 8, 8), (6, 2, 2)) and found.rows.tolist() == list(range(70)) and found.seconds > 0
    expected = own.feature_maps(own.preprocess(data))
    places = [69, 3, 3]
    for got, whole in zip(found.take(places), expected, strict=True):
        torch.testing.assert_close(got, whole[places], rtol=1e-5, atol=1e-5)
    for got, whole in zip(found.take(slice(60, 64)), expected, strict=True):
        torch.testing.assert_close(got, whole[60:64], rtol=1e-5, atol=1e-5)
    module = own.network.module
    assert isinstance(module, TwoMaps)
    module.seen.clear()
    again = taken(tmp_path, own, ImageArray("some", data))
    # One empty picture tells the shapes.
    assert module.seen == [1] and again.seconds == 0
    np.testing.assert_array_equal(again.values, found.values)


def test_fine_maps_are_averaged_and_numbers_can_be_halved(tmp_path: Path) -> None:
    own, data = backbone(), pixels(5)
    found = taken(tmp_path, own, ImageArray("some", data), 4, stored="float16")
    assert found.levels == ((4, 4, 4), (6, 2, 2)) and found.values.dtype == np.float16
    fine, coarse = own.feature_maps(own.preprocess(data))
    for got, expected in zip(found.take(slice(0, 5)), (adaptive_avg_pool2d(fine, 4), coarse), strict=True):
        torch.testing.assert_close(got, expected, rtol=2e-3, atol=2e-3)


def test_unreadable_pictures_are_left_out(tmp_path: Path) -> None:
    data, paths = pixels(4), []
    for number, picture in enumerate(data):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(picture).save(paths[-1])
    paths[1].write_bytes(b"no picture")
    own = backbone()
    found = taken(tmp_path / "cache", own, ImageFiles("files", paths, "skip"))
    assert found.rows.tolist() == [0, 2, 3] and len(found) == 3
    expected = own.feature_maps(own.preprocess(data[[2]]))
    for got, level in zip(found.take([1]), expected, strict=True):
        torch.testing.assert_close(got, level, rtol=1e-5, atol=1e-5)
    for path in paths:
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="no readable image is left"):
        taken(tmp_path / "cache", own, ImageFiles("none", paths, "skip"))


class Broken(TwoMaps):
    """Gives something else for whole batches than for one empty picture."""

    def __init__(self, change: Callable[[list[Tensor]], list[Tensor]]) -> None:
        super().__init__()
        self.change = change

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        maps = super().feature_maps(images)
        return maps if len(images) == 1 else self.change(maps)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda maps: [maps[0] / 0, maps[1]], FeatureError, "NaN or infinite maps for one of the images 0 to 7"),
        (lambda maps: [maps[0][:, :3], maps[1]], BackboneError, r"expected maps \(4, 8, 8\) or finer.*got \(3, 8, 8\)"),
        (lambda maps: [maps[0][..., :5], maps[1]], BackboneError, r"got \(4, 8, 5\)"),
    ],
)
def test_maps_that_cannot_be(tmp_path: Path, change: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        taken(tmp_path, backbone(Broken(change)), ImageArray("some", pixels(8)))
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("*.tmp"))


def rows_of(values: NDArray[Any], present: NDArray[np.bool_], *, at_once: int = 3) -> Callable[[RowWriter], None]:
    def compute(writer: RowWriter) -> None:
        for start in range(0, len(values), at_once):
            writer.append(values[start : start + at_once], present[start : start + at_once])

    return compute


def test_a_streamed_file_is_one_of_the_caches(tmp_path: Path) -> None:
    """Its header and checksum are those that the other files have, as safetensors and the cache read them."""
    cache = FeatureCache(tmp_path)
    values = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    present = np.array([True, False] * 3 + [True])
    found = cache.get_rows({"a": 1}, Rows(7, 5, "float32"), rows_of(values, present), "who")
    np.testing.assert_array_equal(found["maps"], values)
    assert found["present"].tolist() == present.tolist()
    (path,) = cache.files()
    arrays, recipe = read(path)
    assert recipe == {"a": 1} and arrays.keys() == {"maps", "present"} and not cache.verify()
    (entry,) = cache.entries()
    assert (entry.label, entry.recipe) == ("who", {"a": 1})
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    assert "checksum" in cache.verify()[0]
    with pytest.warns(CacheWarning, match="checksum"):
        again = cache.get_rows({"a": 1}, Rows(7, 5, "float32"), rows_of(values, present, at_once=7))
    np.testing.assert_array_equal(again["maps"], values)
    assert not cache.verify()


def test_what_cannot_be_stored_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, values = FeatureCache(tmp_path), np.zeros((4, 5), np.float32)

    def full(self: RowWriter, values: NDArray[Any], present: NDArray[np.bool_]) -> None:
        raise streamed.StorageError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(streamed.RowWriter, "append", full)
        with pytest.raises(CacheError, match=r"could not store .* GiB of feature maps.*No space.*--sslbench-cache"):
            cache.get_rows({}, Rows(4, 5, "float32"), rows_of(values, np.ones(4, bool)))
    assert not list(tmp_path.rglob("*.tmp")) and not list(cache.files())
    if Path("/dev/full").exists():
        with Path("/dev/full").open("wb", buffering=0) as file, pytest.raises(streamed.StorageError, match="No space"):
            RowWriter(file, Rows(4, 5, "float32")).append(values, np.ones(4, bool))  # type: ignore[arg-type]

    def absent(writer: RowWriter) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "picture.jpg")

    # What computing raises is its own.
    with pytest.raises(FileNotFoundError, match=r"picture\.jpg"):
        cache.get_rows({}, Rows(4, 5, "float32"), absent)
    with pytest.raises(ValueError, match="expected 5 rows, got 4"):
        cache.get_rows({}, Rows(5, 5, "float32"), rows_of(values, np.ones(4, bool)))
    assert not list(cache.files())


def test_a_network_that_was_changed_is_not_run(tmp_path: Path) -> None:
    own = backbone()
    digest = own.digest
    with torch.no_grad():
        next(own.network.module.parameters()).add_(1)
    store = FeatureStore(Settings(cache_dir=tmp_path, device="cpu"))
    with pytest.raises(BackboneError, match="changed after its case had been prepared"):
        store.maps(own, ImageArray("some", pixels(4)), 32, digest=digest, again=True)
