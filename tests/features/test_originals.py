"""Pictures for training: decoded once at their own size, whole, checked, bounded, or decoded again."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.datasets import ImageArray, ImageFiles
from sslbench.errors import CacheWarning, DataError
from sslbench.features import original_file, original_keeping
from sslbench.features.original_loading import OriginalLoader
from sslbench.features.originals import _on_device
from sslbench.features.pictures import Pictures
from tests import pictures as lists
from tests.features.originals import SHAPES, SIDE, all_of, assert_same, by_pil, file_of, files_source, opened


def test_exact_pictures_are_pils_at_their_own_size_or_reduced(tmp_path: Path, pictures: Pictures) -> None:
    source = files_source(tmp_path / "f")
    originals = opened(source, pictures, extraction="exact")
    assert originals.label == "kept" and len(originals) == 10 and originals.rows.tolist() == list(range(10))
    got = all_of(originals)
    assert_same(got, [by_pil(source, row) for row in range(10)])
    assert [list(picture.shape[1:]) for picture in got] == originals.sizes.tolist()
    assert originals.sizes.tolist()[3:6] == [[24, 28], [86, 24], [24, 120]]
    assert originals.bytes == sum(picture.nbytes for picture in got)
    assert originals.sizes.dtype == torch.int64 and originals.rows.dtype == np.int64


def test_fast_pictures_are_exact_ones_unless_reduced(tmp_path: Path, pictures: Pictures) -> None:
    source = files_source(tmp_path / "f", 14)
    fast, exact = (all_of(opened(source, pictures, extraction=how)) for how in ("fast", "exact"))
    assert len(list(pictures.root.glob("*.pictures"))) == 2
    differences = [np.abs(one.astype(int) - other).max() for one, other in zip(fast, exact, strict=True)]
    assert max(differences) <= 2
    reduced = [min(SHAPES[row % len(SHAPES)]) > SIDE for row in range(14)]
    assert not any(np.array(differences)[~np.array(reduced)])
    whole = [all_of(opened(source, pictures, 1000, how)) for how in ("fast", "exact")]
    assert_same(*whole)


def test_pictures_are_decoded_once(tmp_path: Path, pictures: Pictures, decoded: list[int]) -> None:
    source = files_source(tmp_path / "f", bad=(4,))
    first = opened(source, pictures)
    assert sorted(decoded) == list(range(10))
    assert first.rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    expected = all_of(first)
    second = opened(source, pictures)
    assert_same(all_of(second), expected)
    assert second.rows.tolist() == first.rows.tolist() and torch.equal(second.sizes, first.sizes)
    assert sorted(decoded) == list(range(10))
    # In any order, and one of them twice.
    assert_same([picture.numpy() for picture in second.take([7, 0, 7])], [expected[place] for place in (7, 0, 7)])
    # Another size has other pictures.
    opened(source, pictures, 20)
    assert len(decoded) == 20


def test_each_picture_is_checked_once(tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    originals = opened(files_source(tmp_path / "f"), pictures)
    checked: list[int] = []
    real = original_file.OriginalFile.is_sound
    monkeypatch.setattr(
        original_file.OriginalFile, "is_sound", lambda file, row: checked.append(row) or real(file, row)
    )
    for _ in range(3):
        originals.take([2, 5])
    originals.take([5, 6])
    assert checked == [2, 5, 6]


def test_a_damaged_picture_is_decoded_again_once(tmp_path: Path, pictures: Pictures, decoded: list[int]) -> None:
    source = files_source(tmp_path / "f", bad=(1,))
    expected = all_of(opened(source, pictures))
    path = file_of(pictures)
    index = original_file.open_originals_file(path).index
    content = bytearray(path.read_bytes())
    for row in (3, 9):
        content[int(index[row]["offset"])] ^= 1
    path.write_bytes(content)
    originals = opened(source, pictures)
    decoded.clear()
    with pytest.warns(
        CacheWarning, match=r"damaged picture file .*: the checksum of picture 3 does not match; decoding again"
    ) as told:
        assert_same(all_of(originals), expected)
    assert len(told) == 1
    assert not path.exists()
    assert_same(all_of(originals), expected)
    assert decoded == [3, 9]


@pytest.mark.parametrize("damage", ["empty", "cut", "index", "footer", "other"])
def test_a_damaged_file_is_written_anew(damage: str, tmp_path: Path, pictures: Pictures) -> None:
    source = files_source(tmp_path / "f")
    expected = all_of(opened(source, pictures))
    path = file_of(pictures)
    whole = path.read_bytes()
    altered = bytearray(whole)
    altered[{"index": -60, "footer": -30}.get(damage, 0)] ^= 1
    path.write_bytes({"empty": b"", "cut": whole[:-1], "other": b"x" * 500}.get(damage, bytes(altered)))
    with pytest.warns(CacheWarning, match="damaged picture file"):
        assert_same(all_of(opened(source, pictures)), expected)
    assert path.read_bytes() == whole


def test_an_unreadable_file_is_an_error_unless_it_is_skipped(tmp_path: Path, pictures: Pictures) -> None:
    strict = files_source(tmp_path / "f", bad=(7,), policy="fail")
    with pytest.raises(DataError, match=r"cannot read the image .*7\.jpg"):
        opened(strict, pictures)
    assert not list(pictures.root.glob("*.pictures*"))
    with pytest.raises(DataError, match="no readable image is left to be used"):
        opened(files_source(tmp_path / "g", 2, bad=(0, 1)), pictures)
    with pytest.raises(DataError, match=r"reduced to 0 pixels; expected .* at least 1"):
        opened(strict, pictures, 0)


@pytest.mark.parametrize("extraction", ["fast", "exact"])
def test_the_thinnest_picture_is_kept_as_it_is(extraction: str, tmp_path: Path, pictures: Pictures) -> None:
    """A network's own resize could not hold it; a reduction is never larger than the picture."""
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    Image.new("RGB", (2_000, 1)).save(paths[0])
    Image.new("RGB", (1_000, 250)).save(paths[1])
    assert opened(ImageFiles("thin", paths), pictures, 224, extraction).sizes.tolist() == [[1, 2_000], [224, 896]]


def test_what_is_done_before_a_picture_becomes_rgb_is_done(tmp_path: Path, pictures: Pictures) -> None:
    source = replace(files_source(tmp_path / "f"), prepare=lambda image: image.crop((0, 0, 5, 4)))
    assert opened(source, pictures).sizes.tolist() == [[4, 5]] * 10


def test_a_full_disk_is_told_and_pictures_are_decoded_again(
    tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = files_source(tmp_path / "f", bad=(2,))
    expected = all_of(opened(source, Pictures(tmp_path / "other", 1 << 20)))

    def full(self: original_keeping._Writer, content: bytes) -> None:
        self._give_up("no space left")

    monkeypatch.setattr(original_keeping._Writer, "_write", full)
    with pytest.warns(CacheWarning, match="pictures are not kept, but decoded again .*: no space left") as told:
        originals = opened(source, pictures)
    assert len(told) == 1
    assert originals.label == "decoded again"
    assert_same(all_of(originals), expected)
    assert not list(pictures.root.glob("*.pictures*"))


@pytest.mark.parametrize("limit", [0, 1000])
def test_what_does_not_fit_is_decoded_again_by_threads(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = files_source(tmp_path / "f", bad=(2,))
    kept = opened(source, Pictures(tmp_path / "other", 1 << 20))
    with pytest.warns(CacheWarning, match=r"--sslbench-decoded allows .* Raise the option to 0\.5 or more") as told:
        originals = opened(source, Pictures(tmp_path / "small", limit))
    assert len(told) == 1
    assert originals.label == "decoded again" and originals.rows.tolist() == kept.rows.tolist()
    assert torch.equal(originals.sizes, kept.sizes) and originals.bytes == kept.bytes
    assert not list((tmp_path / "small").glob("*.pictures*"))
    threads: set[int] = set()
    real = OriginalLoader.load
    monkeypatch.setattr(OriginalLoader, "load", lambda self, row: threads.add(threading.get_ident()) or real(self, row))
    originals.prefetch([3, 1, 4, 1])
    assert_same([picture.numpy() for picture in originals.take([4, 1, 3, 3])], [all_of(kept)[p] for p in (4, 1, 3, 3)])
    assert_same(all_of(originals), all_of(kept))
    assert threads and threading.get_ident() not in threads


def test_an_estimate_that_was_too_low_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = files_source(tmp_path / "f")
    monkeypatch.setattr(original_keeping, "_estimate", lambda loader, count: 1)
    with pytest.warns(CacheWarning, match="take more than --sslbench-decoded allows; raise it"):
        assert opened(source, Pictures(tmp_path / "small", 5000)).label == "decoded again"
    assert not list((tmp_path / "small").glob("*.pictures*"))


def test_the_estimate_is_near(tmp_path: Path) -> None:
    source = files_source(tmp_path / "f", 210)
    loader = OriginalLoader(source, SIDE, "fast")
    actual = sum(by_pil(source, row).size for row in range(210)) + 210 * original_file.ENTRY.itemsize
    assert 0.8 * actual < original_keeping._estimate(loader, 210) < 1.25 * actual
    few = sum(by_pil(source, row).size for row in range(50)) + 50 * original_file.ENTRY.itemsize
    assert original_keeping._estimate(loader, 50) == few


def test_a_file_that_changes_under_a_training_is_an_error(tmp_path: Path) -> None:
    source = files_source(tmp_path / "f")
    with pytest.warns(CacheWarning):
        originals = opened(source, Pictures(tmp_path / "none", 0))
    Image.new("RGB", (9, 8)).save(source.paths[3])
    Path(source.paths[4]).write_bytes(b"gone")
    with pytest.raises(DataError, match=r"image 3 was \(24, 28\) pixels .* and it is \(8, 9\) now"):
        originals.take([2, 3])
    with pytest.raises(DataError, match=r"image 4 .* it cannot be read any more"):
        originals.take([4])


def test_the_least_recently_used_leave_first(tmp_path: Path) -> None:
    sources = [replace(files_source(tmp_path / name), fingerprint=name) for name in "abc"]
    each = sum(by_pil(sources[0], row).size for row in range(10)) + 600
    pictures = Pictures(tmp_path / "kept", 2 * each)
    other = tmp_path / "kept" / "older.npy"
    for number, name in enumerate("ab"):
        opened(sources["ab".index(name)], pictures)
        (new,) = [path for path in pictures.root.glob("*.pictures") if path.stat().st_mtime > 10_000]
        os.utime(new, (1000 * (number + 1),) * 2)
    other.write_bytes(b"x")
    os.utime(other, (1, 1))
    opened(sources[0], pictures)
    opened(sources[2], pictures)
    assert not other.exists()
    kept = list(pictures.root.glob("*.pictures"))
    assert len(kept) == 2 and not [path for path in kept if path.stat().st_mtime == 2000]


def test_arrays_stay_in_memory(tmp_path: Path, pictures: Pictures) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 30, 28, 3), dtype=np.uint8)
    originals = opened(ImageArray("array", lambda: pixels, 5), pictures, 28)
    assert originals.label == "memory" and originals.sizes.tolist() == [[30, 28]] * 5
    assert_same(all_of(originals), list(pixels.transpose(0, 3, 1, 2)))
    reduced = opened(ImageArray("array", pixels), pictures, 14)
    expected = [np.asarray(Image.fromarray(one).resize((14, 15), Image.Resampling.BICUBIC)) for one in pixels]
    assert_same(all_of(reduced), [one.transpose(2, 0, 1) for one in expected])
    assert not pictures.root.exists()
    with pytest.raises(DataError, match="there is no image"):
        opened(ImageArray("none", pixels[:0]), pictures)


def test_lists_of_pictures_are_kept(pictures: Pictures, decoded: list[int]) -> None:
    images = [Image.new("RGB", (6 + row, 5), (row, 0, 0)) if row != 1 else None for row in range(4)]
    originals = opened(lists.Pictures("list", 4, images.__getitem__), pictures)
    assert originals.label == "kept" and originals.rows.tolist() == [0, 2, 3]
    assert originals.sizes.tolist() == [[5, 6], [5, 8], [5, 9]]
    assert decoded == [0, 1, 2, 3]


def test_one_block_on_a_device_has_the_same_pictures(tmp_path: Path, pictures: Pictures) -> None:
    originals = opened(files_source(tmp_path / "f", bad=(0,)), pictures)
    places = _on_device(originals._source, originals.rows, originals.sizes, "cpu")
    assert_same([place.numpy() for place in places], all_of(originals))


def test_crops_are_cut_from_what_is_taken(tmp_path: Path, pictures: Pictures) -> None:
    from sslbench.training.crops import draw_boxes, resized_crops

    originals = opened(files_source(tmp_path / "f"), pictures)
    generator = torch.Generator().manual_seed(0)
    places = torch.randperm(len(originals), generator=generator).tolist()
    boxes = draw_boxes(originals.sizes[places], generator)
    crops = resized_crops(originals.take(places), boxes, torch.zeros(10, dtype=torch.bool), (16, 16))
    assert crops.shape == (10, 3, 16, 16)
